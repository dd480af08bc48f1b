"""What a network is, as data: its layers, the recipe of a training, its record; no Keras here.

plan.py      every layer with its settings and the shapes of its weights, from a few numbers
recipe.py    the options of a training, and the presets
history.py   what each epoch came to
network.py   what whoever applies a network knows of it
"""
