"""Bring one picture to a size and a number of channels; it reads and writes no files."""

import operator
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convae.errors import ParameterError

SMALLEST_SIDE = 8
LARGEST_SIDE = 16_384
CHANNELS = (1, 3, 4)

Fit: TypeAlias = Literal["pad", "crop", "stretch"]
FITS: tuple[Fit, ...] = get_args(Fit)
Size: TypeAlias = int | tuple[int, int]

# Weights of red, green and blue in luma (ITU-R BT.601), as Pillow's own conversion has them.
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def check_size(size: Size) -> tuple[int, int]:
    """Return `size` as (height, width); one number stands for both.

    Raises:
        ParameterError: It is not one or two whole numbers in the allowed range.
    """
    sides = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
    try:
        height, width = (operator.index(side) for side in sides)
    except (TypeError, ValueError):
        height = width = 0
    if not all(SMALLEST_SIDE <= side <= LARGEST_SIDE for side in (height, width)):
        raise ParameterError(
            f"size must be one whole number, or (height, width), from {SMALLEST_SIDE} to "
            f"{LARGEST_SIDE} pixels; received {size!r}. Pass for example 32 or (32, 48)."
        )
    return height, width


def check_channels(channels: int) -> int:
    """Return `channels` when it is 1, 3 or 4.

    Raises:
        ParameterError: It is something else.
    """
    if isinstance(channels, bool) or channels not in CHANNELS:
        raise ParameterError(
            f"channels must be 1 (gray), 3 (RGB) or 4 (RGBA); received {channels!r}. "
            f"Pass one of these."
        )
    return int(channels)


def check_fit(fit: str) -> None:
    """Accept the name of a fit.

    Raises:
        ParameterError: There is no fit of this name.
    """
    if fit not in FITS:
        raise ParameterError(
            f"fit must be one of {', '.join(FITS)}; received {fit!r}. Use 'pad' to keep the "
            f"whole picture."
        )


def fit_size(image: NDArray[Any], height: int, width: int, fit: Fit = "pad") -> NDArray[Any]:
    """Resize one picture with an antialiasing filter (Lanczos).

    Args:
        image: uint8, or float32 in [0, 1]; shape (height, width, channels).
        height: Rows of the result, in pixels.
        width: Columns of the result, in pixels.
        fit: `pad` keeps the aspect and repeats the edge pixels around the picture; `crop` keeps
            the aspect and keeps the middle; `stretch` ignores the aspect.

    Returns:
        The picture at the new size, of the same dtype, range and channels; `image` itself when
        the size is already right.

    Raises:
        ParameterError: There is no fit of this name, or a side is outside its range.
    """
    check_fit(fit)
    check_size((height, width))
    rows, columns = image.shape[:2]
    if (rows, columns) == (height, width):
        return image
    if fit == "stretch":
        return _resample(image, height, width, (0, 0, columns, rows))
    if fit == "crop":
        scale = max(height / rows, width / columns)
        kept_rows, kept_columns = min(rows, height / scale), min(columns, width / scale)
        left, top = (columns - kept_columns) / 2, (rows - kept_rows) / 2
        box = (left, top, min(columns, left + kept_columns), min(rows, top + kept_rows))
        return _resample(image, height, width, box)
    scale = min(height / rows, width / columns)
    inner_height, inner_width = max(1, round(rows * scale)), max(1, round(columns * scale))
    inner = _resample(image, inner_height, inner_width, (0, 0, columns, rows))
    above, before = (height - inner_height) // 2, (width - inner_width) // 2
    below, after = height - inner_height - above, width - inner_width - before
    return np.pad(inner, ((above, below), (before, after), (0, 0)), mode="edge")


def _resample(
    image: NDArray[Any], height: int, width: int, box: tuple[float, float, float, float]
) -> NDArray[Any]:
    def resample(plane: NDArray[Any]) -> NDArray[Any]:
        picture = Image.fromarray(np.ascontiguousarray(plane))
        return np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS, box=box))

    if image.dtype == np.uint8:
        # Pillow weighs the colors of an RGBA picture by its alpha, so that edges stay clean.
        pixels = resample(image[..., 0] if image.shape[-1] == 1 else image)
        return pixels.reshape(height, width, image.shape[-1])
    planes = image
    if image.shape[-1] == 4:
        planes = np.concatenate([image[..., :3] * image[..., 3:], image[..., 3:]], axis=-1)
    resized: NDArray[Any] = np.stack(
        [resample(planes[..., k]) for k in range(image.shape[-1])], axis=-1
    )
    # Lanczos overshoots beside an edge.
    resized = np.clip(resized, 0, 1, dtype=np.float32)
    if image.shape[-1] == 4:
        alpha = resized[..., 3:]
        visible = np.where(alpha > 0, alpha, 1)
        resized[..., :3] = np.minimum(resized[..., :3] / visible, 1)
    return resized


def fit_channels(image: NDArray[Any], channels: int) -> NDArray[Any]:
    """Convert between gray, RGB and RGBA.

    Dropped alpha is composited on white, and added alpha is opaque; gray is the luma of ITU-R
    BT.601.

    Args:
        image: uint8, or float32 in [0, 1]; shape (..., height, width, 1, 3 or 4).
        channels: 1, 3 or 4.

    Returns:
        The same dtype and range; shape (..., height, width, channels); `image` itself when it
        has them already.
    """
    received = image.shape[-1]
    if received == channels:
        return image
    whole = np.float32(255 if image.dtype == np.uint8 else 1)

    def settle(values: NDArray[Any]) -> NDArray[Any]:
        if image.dtype == np.uint8:
            values = np.rint(values)
        settled: NDArray[Any] = np.clip(values, 0, whole).astype(image.dtype)
        return settled

    if received == 1:
        image = np.repeat(image, 3, axis=-1)
    elif received == 4:
        alpha = image[..., 3:] / whole
        image = settle(image[..., :3] * alpha + whole * (1 - alpha))
    if channels == 1:
        return settle((image @ LUMA)[..., np.newaxis])
    if channels == 4:
        opaque = np.full((*image.shape[:-1], 1), whole, dtype=image.dtype)
        return np.concatenate([image, opaque], axis=-1)
    return image
