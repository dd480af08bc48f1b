"""What a network is, as data: its layers, the recipe of a training, its record; no Keras here.

plan.py      every layer with its settings and the shapes of its weights, from a few numbers
recipe.py    the options of a training, and the presets
history.py   the result of each epoch
network.py   the protocol of a trained network
run.py       what a training keeps, and who watches it
"""
