"""The image contract: what an array of images must be. It reads no files.

Images are uint8, or float32 in [0, 1], of shape (num_images, height, width, channels) with
height and width from 8 up and 1 (gray), 3 (RGB) or 4 (RGBA) channels.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convae.errors import ImageError
from convae.images.memory import chunks
from convae.images.resize import CHANNELS, SMALLEST_SIDE

SHAPE_RULE = "Images must have the shape (num_images, height, width, channels)"
TYPE_RULE = "Images must be uint8, or floats in [0, 1]"


def as_images(array: ArrayLike) -> NDArray[Any]:
    """Check an array against the image contract.

    Args:
        array: uint8 in [0, 255], or any float in [0, 1]; shape (num_images, height, width,
            channels), or (num_images, height, width) for gray.

    Returns:
        The images with their channel axis. Those of uint8 are a view of what came in (a memory map
        stays one); floats become float32, and are a view when they were float32 already.

    Raises:
        ImageError: The array breaks the contract; the message says where and what to do.
    """
    images = _numeric(array)
    images = _shaped(images)
    if images.dtype == np.uint8:
        return images
    return _float_images(images)


def _numeric(array: ArrayLike) -> NDArray[Any]:
    try:
        images = np.asanyarray(array)
    except Exception as error:  # an array-like of another library raises what it likes
        raise ImageError(
            f"Images must be one array, all of the same shape; received {type(array).__name__}, "
            f"which NumPy does not take as one array ({error}). Bring all images to one size "
            f"with convae.images.fit_size and join them with numpy.stack."
        ) from error
    if isinstance(images, np.ma.MaskedArray):
        raise ImageError(
            f"{TYPE_RULE}, without a mask; received a masked array. "
            f"Fill it first with array.filled(0)."
        )
    kind = images.dtype.kind
    if images.dtype == np.uint8 or kind == "f":
        return images
    if kind == "b":
        remedy = "Convert with array.astype('uint8') * 255."
    elif images.dtype == np.uint16:
        remedy = (
            "Divide by 65535 if the values fill 16 bits, or convert with array.astype('uint8') "
            "if they do not pass 255."
        )
    elif kind in "iu":
        remedy = (
            "Convert with array.astype('uint8') if the values are 0 to 255; otherwise divide by "
            "the largest possible value."
        )
    elif kind == "c":
        remedy = "Take the magnitude with numpy.abs(array) and scale it to [0, 1]."
    elif kind in "US":
        remedy = "Read files with convae.datasets.load_dataset(path)."
    else:
        remedy = "Pass one numeric array; join images of one size with numpy.stack."
    raise ImageError(f"{TYPE_RULE}; received {images.dtype}. {remedy}")


def _shaped(images: NDArray[Any]) -> NDArray[Any]:
    shape = images.shape
    if images.ndim not in (3, 4):
        remedy = "Reshape it with array.reshape(num_images, height, width, channels)."
        side = math.isqrt(shape[1]) if images.ndim == 2 else 0
        if side >= SMALLEST_SIDE and side * side == shape[1]:
            remedy = f"For flat rows, use array.reshape(-1, {side}, {side}, 1)."
        elif images.ndim == 2 and min(shape) >= SMALLEST_SIDE:
            remedy = "For one gray image, use array[numpy.newaxis]."
        raise ImageError(f"{SHAPE_RULE}; received the shape {shape}. {remedy}")
    if images.ndim == 3:
        images = images[..., np.newaxis]
    count, height, width, channels = images.shape
    if count == 0:
        raise ImageError(
            f"There must be at least one image; received the shape {shape}. "
            f"Check the path or the selection that made the array."
        )
    if channels not in CHANNELS:
        remedy = "Keep or join planes so that 1, 3 or 4 remain."
        if height in CHANNELS:
            remedy = "This looks like channels first: use numpy.moveaxis(array, 1, -1)."
        raise ImageError(
            f"{SHAPE_RULE} with 1 (gray), 3 (RGB) or 4 (RGBA) channels; received {channels} "
            f"channels in the shape {shape}. {remedy}"
        )
    if min(height, width) < SMALLEST_SIDE:
        remedy = "Enlarge or pad the images first."
        if len(shape) == 3 and width in CHANNELS:
            remedy = "For one image with channels, use array[numpy.newaxis]."
        raise ImageError(
            f"Height and width must be {SMALLEST_SIDE} pixels or more; received {height} x "
            f"{width} in the shape {shape}. {remedy}"
        )
    return images


def _float_images(images: NDArray[Any]) -> NDArray[np.float32]:
    result = images if images.dtype == np.float32 else np.empty(images.shape, np.float32)
    low, high = math.inf, -math.inf
    for part in chunks(images):
        chunk = images[part]
        if result is not images:
            # A float64 beyond the range of float32 becomes infinite and is refused as that.
            with np.errstate(over="ignore"):
                result[part] = chunk
            chunk = result[part]
        lowest, highest = float(chunk.min()), float(chunk.max())
        if not (math.isfinite(lowest) and math.isfinite(highest)):
            finite = np.isfinite(chunk).all(axis=(1, 2, 3))
            raise ImageError(
                f"Images must be finite; received NaN or infinity, first in the image at index "
                f"{part.start + int(np.argmin(finite))}. Replace these values, for example with "
                f"numpy.nan_to_num, or leave the image out."
            )
        low, high = min(low, lowest), max(high, highest)
    if low < 0 or high > 1:
        if low >= 0 and 2 <= high <= 255:
            remedy = "Divide by 255."
        elif low >= -1 and high <= 1:
            remedy = "Bring [-1, 1] to [0, 1] with (array + 1) / 2."
        elif low >= -0.1 and high <= 1.1:
            remedy = "Clip them with numpy.clip(array, 0, 1)."
        else:
            remedy = "Scale them with (array - array.min()) / (array.max() - array.min())."
        raise ImageError(f"{TYPE_RULE}; received floats from {low:.6g} to {high:.6g}. {remedy}")
    return result


def to_float(images: NDArray[Any]) -> NDArray[np.float32]:
    """Images as float32 in [0, 1].

    Args:
        images: uint8 (divided by 255), or floats in [0, 1] (kept); any shape.
    """
    if images.dtype != np.uint8:
        return images.astype(np.float32, copy=False)
    result = images.astype(np.float32)
    result /= np.float32(255)
    return result


def to_uint8(images: NDArray[Any]) -> NDArray[np.uint8]:
    """Images as uint8: floats are multiplied by 255, rounded, and clipped to [0, 255].

    Args:
        images: uint8 (kept), or finite floats with black at 0 and white at 1; any shape.
    """
    if images.dtype == np.uint8:
        return images
    scaled = images * np.float32(255)
    np.rint(scaled, out=scaled)
    return np.clip(scaled, 0, 255, out=scaled).astype(np.uint8)
