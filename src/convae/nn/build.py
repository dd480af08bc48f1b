"""Build the Keras model of an architecture's plan, and move weights in and out of it."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convae.architecture.plan import Architecture, Layer
from convae.nn.backend import keras
from convae.nn.layers import Conv2D, Conv2DTranspose

# The kinds of layers that are ours; all others are Keras's own.
KINDS: dict[str, Any] = {"Conv2D": Conv2D, "Conv2DTranspose": Conv2DTranspose}


class _Seeds:
    """Hands each layer a seed of its own, so that equal layers do not start equal."""

    def __init__(self, seed: int | None) -> None:
        self._sequence = None if seed is None else np.random.SeedSequence(seed)

    def glorot_uniform(self) -> keras.initializers.Initializer:
        if self._sequence is None:
            return keras.initializers.GlorotUniform()
        state = self._sequence.spawn(1)[0].generate_state(1)[0]
        return keras.initializers.GlorotUniform(seed=int(state) & 0x7FFF_FFFF)


def build_model(architecture: Architecture, seed: int | None = None) -> keras.Model:
    """The Keras model `autoencoder`, whose two layers are the models `encoder` and `decoder`.

    Args:
        architecture: Its shape.
        seed: Makes the first weights repeatable on one backend; None draws them at random.

    Returns:
        A functional model from float32 `(batch, height, width, channels)` in [0, 1] to the same.
    """
    seeds = _Seeds(seed)
    layers = list(architecture.layers())
    encoder, decoder = (
        _build_part(part, [layer for layer in layers if layer.model == part], seeds)
        for part in ("encoder", "decoder")
    )
    outputs = decoder(encoder(encoder.input))
    return keras.Model(encoder.input, outputs, name="autoencoder")


def _build_part(name: str, layers: Iterable[Layer], seeds: _Seeds) -> keras.Model:
    first, *others = layers
    inputs = volume = keras.Input(first.output_shape, name=first.name)
    for layer in others:
        settings = dict(layer.settings)
        if "kernel" in layer.weights:
            settings["kernel_initializer"] = seeds.glorot_uniform()
        kind = KINDS.get(layer.kind) or getattr(keras.layers, layer.kind)
        volume = kind(name=layer.name, **settings)(volume)
    return keras.Model(inputs, volume, name=name)


def _variables(model: keras.Model) -> Iterator[tuple[str, keras.Variable]]:
    """Every weight with its stable name, `model/layer/variable`."""
    for part in ("encoder", "decoder"):
        for layer in model.get_layer(part).layers:
            for variable in layer.weights:
                yield f"{part}/{layer.name}/{variable.name}", variable


def get_weights(model: keras.Model) -> dict[str, NDArray[np.float32]]:
    """Copies of all weights, named as `Architecture.weight_shapes` names them."""
    return {
        name: np.array(keras.ops.convert_to_numpy(variable.value))
        for name, variable in _variables(model)
    }


def set_weights(model: keras.Model, weights: dict[str, NDArray[np.float32]]) -> None:
    """Put `weights` (the result of `get_weights` of a model of equal architecture) into `model`."""
    for name, variable in _variables(model):
        variable.assign(weights[name])
