"""Shift each image of a batch by its own number of whole pixels, repeating edge pixels."""

from typing import Any

from convae.nn.backend import keras


def translate(images: keras.KerasTensor, offsets: Any) -> keras.KerasTensor:  # noqa: ANN401
    """Images shifted down and to the right; edge pixels fill the gap.

    Args:
        images: float32 `(batch, height, width, channels)`.
        offsets: int32 `(batch, 2)`, in pixels, each smaller than the side.

    Returns:
        float32, of the shape of `images`.
    """
    ops = keras.ops
    batch, height, width, channels = images.shape
    rows = ops.clip(ops.arange(height) - offsets[:, :1], 0, height - 1)
    columns = ops.clip(ops.arange(width) - offsets[:, 1:], 0, width - 1)
    numbers = ops.arange(batch)[:, None, None]
    places = (numbers * height + rows[:, :, None]) * width + columns[:, None, :]
    return ops.take(ops.reshape(images, (-1, channels)), places, axis=0)
