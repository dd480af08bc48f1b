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
import sys
import threading
from collections.abc import Sequence

import click

import convae
import convae.cli.verbs
from convae.cli.output import INTERRUPTED
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
        click.echo(f"Error: {error}", err=True)
        return 1
    except OSError as error:
        # Mostly standard output, to which click writes its help.
        click.echo(
            f"Error: Files and standard output must be usable; the system gave '{error}'. "
            f"Make room or choose another place.",
            err=True,
        )
        return 1
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted.", err=True)
        return INTERRUPTED


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96})
@click.version_option(convae.__version__, prog_name="convae")
def commands() -> None:
    """One small convolutional autoencoder, trained from a plain set of images, in one safe file."""


for module in pkgutil.iter_modules(convae.cli.verbs.__path__):
    verb = importlib.import_module(f"convae.cli.verbs.{module.name}")
    commands.add_command(getattr(verb, module.name))


def entry_point() -> None:
    """What the installed script `convae` runs."""
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


def _keep_interruption(unraisable: "sys.UnraisableHookArgs") -> None:
    """Bring back a Ctrl-C that came while Python was in a callback, which loses exceptions."""
    if unraisable.exc_type is KeyboardInterrupt:
        threading.Timer(0.1, _thread.interrupt_main).start()
    else:
        sys.__unraisablehook__(unraisable)
