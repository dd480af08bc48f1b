"""Bring an array of images to a wanted size and channels, in memory or in a file; it reads none."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convae.errors import ImageError
from convae.images.contract import as_images
from convae.images.gather import PictureSettings
from convae.images.memory import check_memory, chunks, release
from convae.images.resize import check_size, fit_channels, fit_size
from convae.images.store import USE_STORE, keep_images


def check_images(array: NDArray[Any], source: str, settings: PictureSettings) -> NDArray[Any]:
    """Check an array against the image contract, as `convae.images.as_images` does.

    Floats other than float32 become float32, which takes memory: with a store, their values are
    left for `fit_images` to check and convert a few at a time.

    Raises:
        ImageError: The array breaks the contract.
        DataError: The float32 images need too much memory.
    """
    try:
        if array.dtype.kind != "f" or array.dtype == np.float32 or array.ndim not in (3, 4):
            return as_images(array)
        if settings.store is not None:
            as_images(array[:1])
            return array if array.ndim == 4 else array[..., np.newaxis]
        remedy = f"Save them as float32 or uint8, or {USE_STORE}."
        check_memory(array.shape, np.float32, f"{source} as float32", remedy)
        return as_images(array)
    except ImageError as error:
        raise ImageError(f"{source}: {error}") from error


def wanted_shape(images: NDArray[Any], settings: PictureSettings) -> tuple[int, int, int]:
    """Height, width and channels that images must have."""
    _, height, width, channels = images.shape
    if settings.size is not None:
        height, width = check_size(settings.size)
    return height, width, settings.channels or channels


def count_resized(images: NDArray[Any], settings: PictureSettings) -> int:
    """How many images must change their size: all or none."""
    return 0 if wanted_shape(images, settings)[:2] == images.shape[1:3] else len(images)


def fit_images(images: NDArray[Any], source: str, settings: PictureSettings) -> NDArray[Any]:
    """Checked images at the wanted size and channels, in memory or in the settings' store.

    Args:
        images: What `check_images` returned.
        source: Where they are from, for a message.
        settings: The size, channels and fit that are wanted, and the store.

    Returns:
        `images` themselves when they are right and there is no store; with one, a memory map.

    Raises:
        DataError: They need too much memory.
        ImageError: A value is none of the contract.
        OutputError: The store cannot be written, for example for lack of room.
    """
    height, width, channels = wanted_shape(images, settings)
    kept = (height, width, channels) == images.shape[1:]
    if kept and settings.store is None:
        return images
    dtype = np.float32 if images.dtype.kind == "f" else images.dtype
    shape = (len(images), height, width, channels)
    what = f"{len(images):,} images of {height} x {width} from {source}"

    def parts() -> Iterator[NDArray[Any]]:
        for chunk in chunks(images):
            try:
                checked = as_images(images[chunk])
            except ImageError as error:
                raise ImageError(f"{source}, from image {chunk.start:,} on: {error}") from error
            if kept:
                yield checked
            else:
                for image in checked:
                    resized = fit_size(image, height, width, settings.fit)
                    yield fit_channels(resized, channels)[np.newaxis]
            release(images)
            if settings.store is not None and settings.progress is not None:
                settings.progress(min(chunk.stop, len(images)), len(images))

    return keep_images(parts(), shape, dtype, settings.store, what, "Choose a smaller size")
