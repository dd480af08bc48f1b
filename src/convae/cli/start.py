"""Where the program begins: Ctrl-C ends it quietly even while it is still being loaded."""

import os
import signal


def entry_point() -> None:
    """What the installed script `convae` runs."""
    usual = signal.getsignal(signal.SIGINT) == signal.default_int_handler
    if usual:
        signal.signal(signal.SIGINT, _stop)
    from convae.cli.main import entry_point

    if usual:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        entry_point()
    except KeyboardInterrupt:
        _stop()
    finally:
        if usual:
            signal.signal(signal.SIGINT, _stop)


def _stop(*_: object) -> None:
    os.write(2, b"Interrupted.\n")
    os._exit(130)
