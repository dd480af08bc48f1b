"""The command line: gathers the verbs, and turns their errors into messages and exit codes.

Results go to standard output, progress and errors to standard error. Exit codes: 0 fine, 1 the user
can fix it, 2 wrong usage, 130 interrupted. The verbs are in `convae.cli.verbs`; each parses, calls
the public classes and prints.
"""

import _thread
import importlib
import io
import os
import pkgutil
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType

import click

import convae
import convae.cli.verbs
from convae.cli.output import INTERRUPTED, say
from convae.errors import ConvaeError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Args:
        arguments: What follows the program's name; None takes the process's own.
    """
    try:
        # A verb returns None; if it stops with an exit code, click returns that.
        return commands.main(arguments, prog_name="convae", standalone_mode=False) or 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ConvaeError as error:
        say(f"Error: {error}", err=True)
        return 1
    except OSError as error:
        # Mostly standard output, to which click writes its help.
        say(
            f"Error: Files and standard output must be usable; the system gave '{error}'. "
            f"Make room or choose another place.",
            err=True,
        )
        return 1
    except (KeyboardInterrupt, click.Abort):
        say("Interrupted.", err=True)
        return INTERRUPTED


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96})
@click.version_option(convae.__version__, prog_name="convae")
def commands() -> None:
    """One small convolutional autoencoder, trained from a plain set of images, in one safe file."""


for module in pkgutil.iter_modules(convae.cli.verbs.__path__):
    verb = importlib.import_module(f"convae.cli.verbs.{module.name}")
    commands.add_command(getattr(verb, module.name))


def entry_point() -> None:
    """What the installed script `convae` runs, by way of `convae.cli.start`."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _as_ctrl_c)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file's name need not be text.
            stream.reconfigure(errors="backslashreplace")
    sys.unraisablehook = _keep_interruption
    code = main()
    if code == INTERRUPTED:
        # Threads of JAX that were compiling may crash the shutdown of the interpreter.
        os._exit(code)
    sys.exit(code)


def _as_ctrl_c(_: int, frame: FrameType | None) -> None:
    """Let a request to end do what Ctrl-C does: a training keeps its checkpoint."""
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):
        raise KeyboardInterrupt
    handler(signal.SIGINT, frame)


def _keep_interruption(unraisable: "sys.UnraisableHookArgs") -> None:
    """Bring back a Ctrl-C that came while Python was in a callback, which loses exceptions."""
    if unraisable.exc_type is KeyboardInterrupt:
        threading.Timer(0.1, _thread.interrupt_main).start()
    else:
        sys.__unraisablehook__(unraisable)
