"""The error of a model, and the honest figure beside it: what a cheap method would have given.

Both take the images a few at a time, so that nothing is ever as large as all of them.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from convae.baselines.components import component_errors, fit_components
from convae.images import to_float
from convae.images.memory import chunks

if TYPE_CHECKING:
    from convae.autoencoder.estimator import ConvAutoencoder

# PCA's error moves in the fourth digit beyond so many images; its time and memory do not.
MOST_IMAGES = 10_000
# Values in memory at a time: half a GiB as float32 to fit on, and much less to judge.
MOST_VALUES = 2**27


@dataclass(frozen=True, eq=False)
class Selection:
    """Some of the images of an array; they are copied when they are used, and not before.

    Args:
        images: uint8 or float32 in [0, 1], `(num_images, height, width, channels)`; in memory or
            mapped from a file.
        indices: Which of them, `(num_chosen,)`.
    """

    images: NDArray[Any]
    indices: NDArray[np.intp]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that an array of the chosen images would have."""
        return len(self.indices), *self.images.shape[1:]

    def __len__(self) -> int:
        """Number of chosen images."""
        return len(self.indices)

    def __getitem__(self, part: slice | NDArray[np.intp]) -> NDArray[Any]:
        """A part of the chosen images, as an array."""
        return self.images[self.indices[part]]


Images: TypeAlias = NDArray[Any] | Selection


def model_mse(model: "ConvAutoencoder", images: Images) -> float:
    """Mean squared error of a model's reconstructions: minus its `score`, on a `Selection` too.

    Args:
        model: The fitted estimator.
        images: Images of its size, uint8 or float32 in [0, 1].

    Returns:
        The error per pixel, in [0, 1].
    """
    scores = np.concatenate([model.score_samples(part) for part in _parts(images)])
    return -float(scores.mean())


def pca_mse(train: Images, test: Images, num_components: int) -> float:
    """Mean squared error of `test` after PCA to `num_components` numbers an image and back.

    Args:
        train: Images to fit on, uint8 or float32 in [0, 1], `(num_images, height, width,
            channels)`; at most 10,000 of them, evenly spread, are used, and fewer of more than
            13,000 values each.
        test: Images of the same size.
        num_components: Numbers an image; fewer where there are fewer images or pixels.

    Returns:
        The error per pixel, in [0, 1].
    """
    num_values = math.prod(train.shape[1:])
    most = min(MOST_IMAGES, max(num_components, MOST_VALUES // num_values))
    chosen = train[np.linspace(0, len(train) - 1, min(len(train), most)).astype(int)]
    flat = to_float(chosen).reshape(len(chosen), num_values)
    pca = fit_components(flat, num_components)
    total = 0.0
    for images in _parts(test):
        rows = to_float(images).reshape(len(images), num_values)
        total += float(component_errors(pca, rows).sum())
    return total / len(test)


def _parts(images: Images) -> Iterator[NDArray[Any]]:
    """The images, in arrays of bounded size."""
    for part in chunks(images):
        yield images[part]
