"""Entropy coding with integers alone: no network, no float, the same bytes on every machine."""
