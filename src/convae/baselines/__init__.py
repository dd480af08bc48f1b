"""Cheap methods to compare ours with; none of them needs a network."""
