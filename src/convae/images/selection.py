"""Some of the images of an array, and how they are drawn."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convae.errors import ParameterError
from convae.images.contract import as_images

Indices = NDArray[np.intp]

# More copies of an image are no accident, if they are more than this share of all images as well.
MOST_COPIES, COMMON = 5, 0.01


@dataclass(frozen=True, eq=False)
class Selection:
    """Some of the images of an array; they are copied when they are used, and not before.

    Args:
        images: uint8 or float32 in [0, 1], `(num_images, height, width, channels)`; in memory or
            mapped from a file. They keep the image contract already.
        indices: Which of them, `(num_chosen,)`.
        channel_axis: Whether they came with a channel axis.
    """

    images: NDArray[Any]
    indices: Indices
    channel_axis: bool = True

    @classmethod
    def of(cls, images: "ImagesLike") -> "Selection":
        """All images of an array-like, checked once; a selection stays as it is.

        Raises:
            ImageError: They break the image contract.
        """
        if isinstance(images, Selection):
            return images
        checked = as_images(images)
        return cls(checked, np.arange(len(checked)), np.ndim(images) == 4)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that an array of the chosen images would have."""
        return len(self.indices), *self.images.shape[1:]

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8 or float32."""
        return self.images.dtype

    def __len__(self) -> int:
        """Number of chosen images."""
        return len(self.indices)

    def __getitem__(self, part: slice | Indices) -> NDArray[Any]:
        """A part of the chosen images, as an array."""
        return self.images[self.indices[part]]

    def take(self, part: slice | Indices) -> "Selection":
        """A part of the chosen images, not copied."""
        return Selection(self.images, self.indices[part], self.channel_axis)

    def without(self, part: Indices) -> "Selection":
        """All chosen images but those at some positions, not copied."""
        return Selection(self.images, np.delete(self.indices, part), self.channel_axis)


Images: TypeAlias = NDArray[Any] | Selection
ImagesLike: TypeAlias = ArrayLike | Selection


def held_out_indices(
    num_images: int,
    fraction: float,
    seed: int,
    name: str = "validation_split",
    groups: Indices | None = None,
) -> Indices:
    """Indices, ascending, of images drawn at random, since folders come sorted.

    Groups are drawn whole, so that no image is held out whose copy is not. A group of more than 5
    images and more than a hundredth of all is a picture that is common, and is not held out, unless
    most groups are as large. Groups of one image each change nothing; and if all images are of one
    group, it is as if there were none.

    Args:
        num_images: Images there are.
        fraction: How many to draw, from 0 (none) to below 1; of groups, if there are any.
        seed: The same seed draws the same images.
        name: What the message calls the fraction.
        groups: For each image the index of the first one of its group, as
            `convae.images.copies.copy_groups` returns them.

    Raises:
        ParameterError: The fraction is above 0, and leaves no image on one of the sides.
    """
    if fraction == 0:
        return np.empty(0, np.intp)
    num_held_out = round(num_images * fraction)
    if not 0 < num_held_out < num_images:
        raise ParameterError(
            f"{name} must leave at least one image on each side; received {fraction} of "
            f"{num_images} images. Change it or add images."
        )
    order = np.random.default_rng([seed, 0]).permutation(num_images)
    if groups is None or not groups.any():
        return np.sort(order[:num_held_out])
    sizes = np.bincount(groups, minlength=num_images)
    order = order[sizes[order] > 0]
    num_groups = len(order)
    usual = order[sizes[order] <= max(MOST_COPIES, COMMON * num_images)]
    if len(usual) >= num_groups / 2:
        order = usual
    num_drawn = min(max(round(num_groups * fraction), 1), num_groups - 1, len(order))
    return np.flatnonzero(np.isin(groups, order[:num_drawn]))


def drawn_indices(num_images: int, most: int, seed: int) -> Indices:
    """Indices, ascending, of as many images as may be used, drawn at random.

    Args:
        num_images: Images there are.
        most: How many may be used.
        seed: The same seed draws the same images.
    """
    return np.sort(np.random.default_rng(seed).permutation(num_images)[:most])
