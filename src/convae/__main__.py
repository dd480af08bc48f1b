"""`python -m convae`: the command line."""

from convae.cli.main import entry_point

entry_point()
