"""The verbs of the command line; `convae.cli` gathers them, `convae.console` has what they share.

train.py          demo, train
reconstruct.py    reconstruct, embed
info.py           info
"""
