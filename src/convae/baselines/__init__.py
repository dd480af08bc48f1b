"""The honest cheap methods that stand beside ours; none of them needs a network."""
