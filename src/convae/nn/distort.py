"""Distort each image of a batch in its own way, on any backend."""

from typing import Any

from convae.images.distortion import Moves, sources
from convae.nn.backend import keras


def distort(images: Any, moves: Moves, fields: Any) -> Any:  # noqa: ANN401 # tensors of any backend
    """Images shifted, flipped and warped, and lighter or darker; between pixels values are mixed.

    Args:
        images: float32 `(batch, height, width, channels)`.
        moves: As `convae.images.distortion.Distortion` draws them, for these images.
        fields: float32 `(num_fields, height * width)`, of the same distortion.

    Returns:
        float32 in [0, 1], of the shape of `images`.
    """
    ops = keras.ops
    batch, height, width, channels = images.shape
    rows, columns = sources(ops, moves.places, fields, height, width)
    first_rows, first_columns = ops.floor(rows), ops.floor(columns)
    down, right = (rows - first_rows)[..., None], (columns - first_columns)[..., None]
    top, left = ops.cast(first_rows, "int32"), ops.cast(first_columns, "int32")
    below, beside = ops.minimum(top + 1, height - 1), ops.minimum(left + 1, width - 1)
    pixels = ops.reshape(images, (-1, channels))
    numbers = height * ops.arange(batch, dtype="int32")[:, None, None]

    def at(row: Any, column: Any) -> Any:  # noqa: ANN401
        return ops.take(pixels, (numbers + row) * width + column, axis=0)

    above = (1 - right) * at(top, left) + right * at(top, beside)
    under = (1 - right) * at(below, left) + right * at(below, beside)
    shown = (1 - down) * above + down * under
    return ops.clip(shown + moves.lights[:, None, None], 0, 1)
