"""The jobs beyond reconstruction, one folder each; no job imports another."""
