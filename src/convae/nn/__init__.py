"""The network: its shape, its layers, its training. The only place that imports Keras."""
