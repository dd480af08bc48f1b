"""What a model came from, for its file: the images it was trained on and the libraries."""

import hashlib
from typing import Any

import numpy as np

import convae
from convae.images.memory import chunks, release
from convae.images.selection import Selection


def describe_images(images: Selection) -> dict[str, Any]:
    """Number, shape, dtype and SHA-256 of images, as plain JSON values.

    Args:
        images: The images, which are read a few at a time.
    """
    digest = hashlib.sha256(f"{images.shape} {images.dtype}".encode())
    for chunk in chunks(images):
        digest.update(np.ascontiguousarray(images[chunk]).data)
        release(images.images)
    return {
        "num_images": len(images),
        "image_shape": list(images.shape[1:]),
        "dtype": images.dtype.name,
        "sha256": digest.hexdigest(),
    }


def library_versions() -> dict[str, str]:
    """The versions of what a training depends on; it loads the backend."""
    from convae.nn.backend import keras

    return {
        "convae": convae.__version__,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "numpy": np.__version__,
    }
