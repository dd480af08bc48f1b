"""The command line: parse, call a public name, print."""
