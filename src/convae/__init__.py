"""One small convolutional autoencoder, trained from a plain set of images, kept in one safe file.

Importing this package loads no deep-learning backend: each public name is resolved when first used.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convae.autoencoder.estimator import ConvAutoencoder
    from convae.datasets import Dataset, load_dataset
    from convae.errors import ConvaeError
    from convae.images import read_images
    from convae.jobs.anomaly import AnomalyDetector
    from convae.jobs.codec.codec import ImageCodec

__version__ = "0.1.0"
__all__ = [
    "AnomalyDetector",
    "ConvAutoencoder",
    "ConvaeError",
    "Dataset",
    "ImageCodec",
    "__version__",
    "load_dataset",
    "read_images",
]

_HOMES = {
    "AnomalyDetector": "convae.jobs.anomaly",
    "ConvAutoencoder": "convae.autoencoder.estimator",
    "ConvaeError": "convae.errors",
    "Dataset": "convae.datasets",
    "ImageCodec": "convae.jobs.codec.codec",
    "load_dataset": "convae.datasets",
    "read_images": "convae.images",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'convae' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
