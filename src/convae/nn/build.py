"""Build the Keras model of an architecture's plan, and move weights in and out of it."""

import math
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convae.architecture.plan import Architecture, Layer
from convae.nn.backend import FLOATS, keras, settled, start
from convae.nn.layers import Conv2D, Conv2DTranspose

# The kinds of layers that are ours; all others are Keras's own.
KINDS: dict[str, Any] = {"Conv2D": Conv2D, "Conv2DTranspose": Conv2DTranspose}
WITH_CHANNELS = {"Conv2D", "Conv2DTranspose", "Flatten", "Cropping2D"}
MakeInitializer = Callable[[], keras.initializers.Initializer]
# Of a network for which a template, and what was compiled from it, is kept for others like it.
MOST_SHARED_PARAMETERS = 2**22
# Numbers are drawn so many at a time, or as many as the next power of two.
DRAWN_AT_ONCE = 2**16


class GlorotUniform(keras.initializers.GlorotUniform):  # type: ignore[misc] # Keras is untyped
    """Keras's own, with the same numbers on JAX, where each shape would be compiled anew."""

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> Any:  # noqa: ANN401
        """Draw the numbers; Keras calls it."""
        if keras.backend.backend() != "jax":
            return super().__call__(shape, dtype)
        *receptive, inputs, outputs = shape
        variance = 2 / (math.prod(receptive) * (inputs + outputs))
        limit, size = math.sqrt(3 * variance), math.prod(shape)
        drawn = max(DRAWN_AT_ONCE, 1 << (size - 1).bit_length())
        values = keras.random.uniform((drawn,), -limit, limit, dtype, seed=self.seed)
        return keras.ops.convert_to_tensor(np.asarray(values)[:size].reshape(shape))


# What a `.keras` file names, as for the layers.
GlorotUniform.__module__ = "keras.initializers"


class _Seeds:
    """Hands each layer a seed of its own, so that equal layers do not start equal."""

    def __init__(self, seed: int | None) -> None:
        self._sequence = None if seed is None else np.random.SeedSequence(seed)

    def glorot_uniform(self) -> keras.initializers.Initializer:
        if self._sequence is None:
            return GlorotUniform()
        state = self._sequence.spawn(1)[0].generate_state(1)[0]
        return GlorotUniform(seed=int(state) & 0x7FFF_FFFF)


def build_model(architecture: Architecture, seed: int | None = None) -> keras.Model:
    """The Keras model `autoencoder`, whose two layers are the models `encoder` and `decoder`.

    Args:
        architecture: Its shape.
        seed: Makes the first weights repeatable on one backend; None draws them at random.

    Returns:
        A functional model from float32 `(batch, height, width, channels)` in [0, 1] to the same.
    """
    return _build(architecture, _Seeds(seed).glorot_uniform)


def build_blank(architecture: Architecture) -> keras.Model:
    """The same with all kernels zero, for weights that come from elsewhere."""
    return _build(architecture, keras.initializers.Zeros)


def shared(make: Callable[..., Any], architecture: Architecture) -> Callable[..., Any]:
    """A function that keeps what it made, or its uncached self where that would fill the memory.

    Args:
        make: Made by `functools.lru_cache`.
        architecture: The network that it makes something for.
    """
    small = architecture.num_parameters <= MOST_SHARED_PARAMETERS
    return make if small else make.__wrapped__  # type: ignore[attr-defined]


def shared_size(size: int) -> int:
    """The power of four from `size` up: images filled up to it share what is compiled."""
    return 1 << 2 * -(-(size - 1).bit_length() // 2)


def template(architecture: Architecture) -> keras.Model:
    """A blank model to compile from; what is compiled takes weights as arguments."""
    model: keras.Model = shared(_template, architecture)(architecture)
    return model


_template = lru_cache(maxsize=8)(build_blank)


def _build(architecture: Architecture, initializer: MakeInitializer) -> keras.Model:
    start()
    layers = list(architecture.layers())
    with settled():
        encoder, decoder = (
            _build_part(part, [layer for layer in layers if layer.model == part], initializer)
            for part in ("encoder", "decoder")
        )
        outputs = decoder(encoder(encoder.input))
        return keras.Model(encoder.input, outputs, name="autoencoder")


def _build_part(name: str, layers: Iterable[Layer], initializer: MakeInitializer) -> keras.Model:
    first, *others = layers
    inputs = volume = keras.Input(first.output_shape, name=first.name, dtype=FLOATS)
    for layer in others:
        settings = {"dtype": FLOATS, **layer.settings}
        if layer.kind in WITH_CHANNELS:
            settings["data_format"] = "channels_last"
        if "kernel" in layer.weights:
            settings["kernel_initializer"] = initializer()
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
