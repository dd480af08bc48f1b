"""`python -m convae`: the command line."""

from convae.cli.start import entry_point

entry_point()
