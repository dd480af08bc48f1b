"""The verbs of the command line, one module each; `convae.cli.main` gathers them.

train.py          demo, train
reconstruct.py    reconstruct, embed
info.py           info
"""
