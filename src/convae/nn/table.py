"""The layer table of an architecture, from its numbers alone: Keras is not needed to print it."""

import math
from dataclasses import dataclass

from convae.nn.config import Architecture


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One layer.

    Args:
        model: "encoder" or "decoder".
        name: The layer's name in that model.
        kind: Its Keras class.
        output_shape: Without the batch axis.
        num_parameters: How many numbers its weights hold.
        num_trainable: How many of these training moves by gradient.
    """

    model: str
    name: str
    kind: str
    output_shape: tuple[int, ...]
    num_parameters: int
    num_trainable: int


def layer_table(architecture: Architecture) -> list[LayerRow]:
    """Every layer of the encoder, then of the decoder, in order."""
    sizes: dict[tuple[str, str], list[int]] = {}
    for full_name, shape in architecture.weight_shapes().items():
        model, layer, variable = full_name.split("/")
        counts = sizes.setdefault((model, layer), [0, 0])
        counts[0] += math.prod(shape)
        counts[1] += 0 if variable.startswith("moving_") else math.prod(shape)

    rows: list[LayerRow] = []

    def add(model: str, name: str, kind: str, shape: tuple[int, ...]) -> None:
        total, trainable = sizes.get((model, name), [0, 0])
        rows.append(LayerRow(model, name, kind, shape, total, trainable))

    def add_stage(model: str, stage: int, kind: str, name: str, shape: tuple[int, ...]) -> None:
        add(model, f"{name}_{stage}", kind, shape)
        add(model, f"leaky_relu_{stage}", "LeakyReLU", shape)
        add(model, f"batch_normalization_{stage}", "BatchNormalization", shape)

    height, width, channels = architecture.image_shape
    add("encoder", "images", "InputLayer", architecture.image_shape)
    rows_now, columns_now = height, width
    for stage, filters in enumerate(architecture.filters, start=1):
        rows_now, columns_now = -(-rows_now // 2), -(-columns_now // 2)
        add_stage("encoder", stage, "Conv2D", "conv2d", (rows_now, columns_now, filters))
    volume = architecture.volume
    add("encoder", "flatten", "Flatten", (math.prod(volume),))
    add("encoder", "latents", "Dense", (architecture.latent_dim,))

    add("decoder", "latents_input", "InputLayer", (architecture.latent_dim,))
    add("decoder", "volume", "Dense", (math.prod(volume),))
    add("decoder", "reshape", "Reshape", volume)
    for stage, filters in enumerate(
        reversed(architecture.filters), start=len(architecture.filters) + 1
    ):
        rows_now, columns_now = 2 * rows_now, 2 * columns_now
        shape = (rows_now, columns_now, filters)
        add_stage("decoder", stage, "Conv2DTranspose", "conv2d_transpose", shape)
    add("decoder", "reconstruction", "Conv2DTranspose", (rows_now, columns_now, channels))
    if (rows_now, columns_now) != (height, width):
        add("decoder", "crop", "Cropping2D", architecture.image_shape)
    add("decoder", "pixels", "Activation", architecture.image_shape)
    return rows
