"""The verbs of the command line, one module each; `convae.cli.main` finds them here."""
