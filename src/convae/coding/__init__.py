"""Coding by sums that are exact in any order: no backend, the same bytes on every machine."""
