"""Build the Keras model of an architecture, and move weights in and out of it."""

import numpy as np
from numpy.typing import NDArray

from convae.nn.backend import keras
from convae.nn.config import KERNEL_SIDE, LEAKY_SLOPE, Architecture
from convae.nn.layers import Conv2D, Conv2DTranspose


class _Seeds:
    """Hands each layer a seed of its own, so that equal layers do not start equal."""

    def __init__(self, seed: int | None) -> None:
        self._sequence = None if seed is None else np.random.SeedSequence(seed)

    def glorot_uniform(self) -> keras.initializers.Initializer:
        if self._sequence is None:
            return keras.initializers.GlorotUniform()
        state = self._sequence.spawn(1)[0].generate_state(1)[0]
        return keras.initializers.GlorotUniform(seed=int(state) & 0x7FFF_FFFF)


def _activate_and_normalize(volume: keras.KerasTensor, stage: int) -> keras.KerasTensor:
    volume = keras.layers.LeakyReLU(negative_slope=LEAKY_SLOPE, name=f"leaky_relu_{stage}")(volume)
    return keras.layers.BatchNormalization(axis=-1, name=f"batch_normalization_{stage}")(volume)


def build_model(architecture: Architecture, seed: int | None = None) -> keras.Model:
    """The Keras model `autoencoder`, whose two layers are the models `encoder` and `decoder`.

    Args:
        architecture: Its shape.
        seed: Makes the first weights repeatable on one backend; None draws them at random.

    Returns:
        A functional model from float32 `(batch, height, width, channels)` in [0, 1] to the same.
    """
    seeds = _Seeds(seed)
    images = keras.Input(architecture.image_shape, name="images")
    volume = images
    for stage, filters in enumerate(architecture.filters, start=1):
        volume = Conv2D(
            filters,
            KERNEL_SIDE,
            strides=2,
            padding="same",
            kernel_initializer=seeds.glorot_uniform(),
            name=f"conv2d_{stage}",
        )(volume)
        volume = _activate_and_normalize(volume, stage)
    flat = keras.layers.Flatten(name="flatten")(volume)
    encoded = keras.layers.Dense(
        architecture.latent_dim, kernel_initializer=seeds.glorot_uniform(), name="latents"
    )(flat)
    encoder = keras.Model(images, encoded, name="encoder")

    latents = keras.Input((architecture.latent_dim,), name="latents_input")
    rows, columns, width = architecture.volume
    volume = keras.layers.Dense(
        rows * columns * width, kernel_initializer=seeds.glorot_uniform(), name="volume"
    )(latents)
    volume = keras.layers.Reshape(architecture.volume, name="reshape")(volume)
    for stage, filters in enumerate(
        reversed(architecture.filters), start=len(architecture.filters) + 1
    ):
        volume = Conv2DTranspose(
            filters,
            KERNEL_SIDE,
            strides=2,
            padding="same",
            kernel_initializer=seeds.glorot_uniform(),
            name=f"conv2d_transpose_{stage}",
        )(volume)
        volume = _activate_and_normalize(volume, stage)
    volume = Conv2DTranspose(
        architecture.channels,
        KERNEL_SIDE,
        padding="same",
        kernel_initializer=seeds.glorot_uniform(),
        name="reconstruction",
    )(volume)
    extra_rows = volume.shape[1] - architecture.height
    extra_columns = volume.shape[2] - architecture.width
    if extra_rows or extra_columns:
        volume = keras.layers.Cropping2D(
            (
                (extra_rows // 2, extra_rows - extra_rows // 2),
                (extra_columns // 2, extra_columns - extra_columns // 2),
            ),
            name="crop",
        )(volume)
    decoded = keras.layers.Activation("sigmoid", name="pixels")(volume)
    decoder = keras.Model(latents, decoded, name="decoder")
    return keras.Model(images, decoder(encoder(images)), name="autoencoder")


def _variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Every weight by its stable name `model/layer/variable`."""
    return {
        f"{part}/{layer.name}/{variable.name}": variable
        for part in ("encoder", "decoder")
        for layer in model.get_layer(part).layers
        for variable in layer.weights
    }


def get_weights(model: keras.Model) -> dict[str, NDArray[np.float32]]:
    """Copies of all weights, named as `Architecture.weight_shapes` names them."""
    return {
        name: np.array(keras.ops.convert_to_numpy(variable.value))
        for name, variable in _variables(model).items()
    }


def set_weights(model: keras.Model, weights: dict[str, NDArray[np.float32]]) -> None:
    """Put `weights` (the result of `get_weights` of a model of equal architecture) into `model`."""
    for name, variable in _variables(model).items():
        variable.assign(weights[name])
