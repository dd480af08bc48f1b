"""Patches of pictures to learn from: cut out anew at each step."""

import hashlib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from convae.errors import DataError
from convae.images.contract import to_float
from convae.images.copies import copy_groups
from convae.images.reservoir import Reservoir
from convae.images.resize import CHANNELS, fit_channels
from convae.images.selection import Selection, drawn_indices, held_out_indices

Floats = NDArray[np.float32]

# Sides of a patch, in pixels, before they become multiples of the network's stride.
SMALLEST_PATCH, LARGEST_PATCH = 16, 64
# Larger pictures are kept as pieces of this side.
PIECE = 256
MOST_BYTES = 1 << 28
HELD_OUT = 0.05
DEEP_WHITE = np.float32(np.iinfo(np.uint16).max)


@dataclass(frozen=True, eq=False)
class Pieces:
    """Pictures, or pieces of large ones.

    Args:
        pixels: uint8, or float32 in [0, 1]; each `(height, width, channels)`.
        groups: For each the index of the first one that is a copy of it, or of the same picture.
    """

    pixels: Sequence[NDArray[Any]]
    groups: NDArray[np.intp]

    @classmethod
    def of_images(cls, images: Selection, seed: int) -> Self:
        """Images of one size; those drawn, if they would take too much memory."""
        most = max(1, MOST_BYTES // images.images[0].nbytes)
        chosen = images.take(drawn_indices(len(images), most, seed))
        return cls(list(chosen[:]), copy_groups(chosen))

    @classmethod
    def of_pictures(
        cls, batches: Iterable[tuple[NDArray[Any], Sequence[str]]], channels: int, seed: int
    ) -> Self:
        """Pictures of any sizes, as `convae.exact_batches` gives them.

        Raises:
            DataError: There is no picture of 1, 3 or 4 channels.
        """
        kept: list[tuple[NDArray[Any], bytes]] = []
        reservoir = Reservoir(seed)
        most = MOST_BYTES // (PIECE * PIECE * channels)
        for images, _ in batches:
            for image in images if images.shape[3] in CHANNELS else ():
                digest = hashlib.sha256(image.tobytes()).digest()
                deep = image.dtype == np.uint16
                picture = fit_channels(image / DEEP_WHITE if deep else image, channels)
                for row, column in itertools.product(
                    *(range(0, length, PIECE) for length in picture.shape[:2])
                ):
                    place = reservoir.place(most)
                    if place is not None:
                        piece = picture[row : row + PIECE, column : column + PIECE].copy()
                        kept[place : place + 1] = [(piece, digest)]
        if not kept:
            raise DataError("There must be pictures to learn from; received none.")
        pixels, digests = zip(*kept, strict=True)
        _, first, inverse = np.unique(digests, return_index=True, return_inverse=True)
        return cls(pixels, first[inverse])

    def split(self, seed: int) -> tuple[Self, Self]:
        """Those to learn from, and those held out; of a single one, both are all."""
        if len(self.pixels) * HELD_OUT < 1:
            held_out = np.arange(len(self.pixels))[-1:]
        else:
            held_out = held_out_indices(len(self.pixels), HELD_OUT, seed, groups=self.groups)
        others = np.setdiff1d(np.arange(len(self.pixels)), held_out)
        return self._some(others if len(others) else held_out), self._some(held_out)

    def _some(self, chosen: NDArray[np.intp]) -> Self:
        # A view of each, whether they are one array or not.
        return type(self)([self.pixels[index] for index in chosen], np.arange(len(chosen)))

    def patch_sides(self, stride: int) -> tuple[int, int]:
        """Height and width of the patches to cut: those of the middle picture, within limits."""
        sizes = np.array([piece.shape[:2] for piece in self.pixels])
        sides = np.clip(np.median(sizes, axis=0), SMALLEST_PATCH, LARGEST_PATCH)
        height, width = (int(-(-side // stride) * stride) for side in sides)
        return height, width

    def draw(self, count: int, sides: tuple[int, int], random: np.random.Generator) -> Floats:
        """Patches cut out at random places of random pieces.

        Args:
            count: How many.
            sides: Their height and width; what lies beyond a piece repeats its edge.
            random: Draws them.

        Returns:
            float32 in [0, 1], `(count, height, width, channels)`.
        """
        chosen = random.integers(len(self.pixels), size=count)
        return np.stack([_cut(self.pixels[index], sides, random) for index in chosen])


def _cut(piece: NDArray[Any], sides: tuple[int, int], random: np.random.Generator) -> Floats:
    slices, padding = [], []
    for length, side in zip(piece.shape[:2], sides, strict=True):
        start = int(random.integers(max(length - side, 0) + 1))
        slices.append(slice(start, start + side))
        missing = max(side - length, 0)
        padding.append((missing // 2, missing - missing // 2))
    patch = to_float(piece[tuple(slices)])
    return np.pad(patch, (*padding, (0, 0)), mode="edge") if any(map(any, padding)) else patch
