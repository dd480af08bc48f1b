"""The network in Keras: its layers and its training. The only place that imports a backend."""
