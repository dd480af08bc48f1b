"""`python -m convae`: the command line."""

from convae.cli import entry_point

entry_point()
