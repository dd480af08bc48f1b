"""Find the images of a set that are copies or near-copies of others.

Copies are equal pixel by pixel. Near-copies are moved by a pixel or two, brighter or darker, saved
anew with losses, or a little noisy. A flipped image is no copy. Images are compared by the sizes of
their low frequencies, which stay when an image moves, and then by these frequencies themselves.

How alike is too alike depends on the set: digits are more alike than photographs. So a pair must be
far nearer to each other than to images further off, and images that are all alike are no copies.
"""

import hashlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convae.images.contract import to_float
from convae.images.memory import chunks, release
from convae.images.selection import Indices, Selection

Floats = NDArray[np.float32]
Spectra = NDArray[np.complex64]

# Cycles per image, to each side.
HIGHEST_FREQUENCY = 8
# Share of a side over which an image fades to its edges, where moving it brings in something new.
FADED = 0.25
# An image of less contrast looks like any other of little contrast.
LEAST_CONTRAST = 0.002
NUM_COMPONENTS = 32
MOST_FITTED = 2_000
# A near-copy is nearer than this share of the squared distance of the twentieth nearest, or of one
# before it in sets of fewer than 1,000, of which twenty may be of several kinds.
NEAR = 0.15
FIRST_PLACE, PLACE, KINDS = 3, 20, 50
# What no shift explains of a near-copy, as a share of the whole.
MOST_UNEXPLAINED = 0.05
LARGEST_SHIFT, SHIFT_STEP = 2.0, 0.5
# Up to so many images are compared all with all; of more, those in neighboring cells.
ALL_WITH_ALL = 2_000
CELL_SIZE, LARGEST_CELL, NUM_CELLS = 200, 4_000, 4
ROWS_AT_A_TIME, POINTS_AT_A_TIME = 512, 4_096
# Arrays as large as the images that are held at a time.
ARRAYS = 4


def copy_groups(images: Selection) -> Indices:
    """Which images are copies or near-copies of which.

    All equal images are found. Near-copies of an image are missed if they are more than 20, or more
    than 3 and more than a fiftieth of the set. The time grows with the number of images to the
    power of 1.5 at most, and the memory by some 200 bytes for each.

    Args:
        images: The images, which are read a few at a time.

    Returns:
        For each image the position of the first one of its group, `(num_images,)`: its own, if it
        is like none before it.
    """
    transform = _Transform(images.shape)
    equal, points, looked_at = _read(images, transform)
    kept = [(np.empty(0, np.intp), np.empty(0, np.intp))]
    for near in _near(points):
        first, second = (looked_at[ends] for ends in near)
        for part in chunks(images.take(first), ARRAYS):
            some = first[part], second[part]
            spectra = [transform.spectra(images[ends])[0] for ends in some]
            alike = transform.unexplained(*spectra) <= MOST_UNEXPLAINED
            kept.append((some[0][alike], some[1][alike]))
            release(images.images)
    leaders = _stars(len(equal), *(np.concatenate(ends) for ends in zip(*kept, strict=True)))
    _, first_of, group = np.unique(leaders[equal], return_index=True, return_inverse=True)
    groups: Indices = first_of[group]
    return groups


def num_copies(groups: Indices) -> int:
    """How many images are copies or near-copies of another one, which is not counted itself.

    Args:
        groups: What `copy_groups` returned.
    """
    return len(groups) - len(np.unique(groups))


def copies_told(count: int) -> str:
    """What to tell of the copies among images that are split.

    Args:
        count: How many there are, 1 or more.
    """
    if count == 1:
        return "1 image is a copy or near-copy of another; they stay on one side of every split"
    return (
        f"{count:,} images are copies or near-copies of others; they stay on one side of every "
        f"split"
    )


def one_of_each(indices: Indices, groups: Indices, seed: int) -> Indices:
    """Of some images, ascending, one of each group, drawn at random.

    Args:
        indices: Which images.
        groups: What `copy_groups` returned for all images.
        seed: The same seed draws the same images.
    """
    order = np.random.default_rng([seed, 2]).permutation(indices)
    return np.sort(order[np.unique(groups[order], return_index=True)[1]])


def _read(images: Selection, transform: "_Transform") -> tuple[Indices, Floats, Indices]:
    """The first image equal to each; points to compare others by; and of which images they are."""
    drawn = np.linspace(0, len(images) - 1, min(len(images), MOST_FITTED)).astype(np.intp)
    few = images.take(drawn)
    sizes = [transform.sizes(few[part])[0] for part in chunks(few, ARRAYS)]
    axes, middle = _axes(np.concatenate(sizes))
    digests = np.empty(len(images), np.uint64)
    has_contrast = np.empty(len(images), bool)
    points = np.empty((len(images), axes.shape[1]), np.float32)
    for part in chunks(images, ARRAYS):
        some = np.ascontiguousarray(images[part])
        digests[part] = [
            int.from_bytes(hashlib.blake2b(image.data, digest_size=8).digest()) for image in some
        ]
        found, contrast = transform.sizes(some)
        points[part] = (found - middle) @ axes
        has_contrast[part] = contrast >= LEAST_CONTRAST
        release(images.images)
    _, first_of, group = np.unique(digests, return_index=True, return_inverse=True)
    looked_at = np.sort(first_of)
    looked_at = looked_at[has_contrast[looked_at]]
    return first_of[group], points[looked_at], looked_at


def _axes(sizes: Floats) -> tuple[Floats, Floats]:
    """Leading principal axes as columns, and the middle."""
    middle = sizes.mean(axis=0)
    centered = sizes - middle
    vectors = np.linalg.eigh(centered.T @ centered)[1]
    return np.ascontiguousarray(vectors[:, ::-1][:, :NUM_COMPONENTS]), middle


class _Transform:
    """The low frequencies of images of one size.

    Args:
        shape: `(num_images, height, width, channels)`.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        _, height, width, channels = shape
        self._down, down = _waves(height, both_ways=True)
        self._across, across = _waves(width, both_ways=False)
        self._constant = np.multiply.outer(self._across.sum(axis=0), self._down.sum(axis=0))
        # Each frequency across, but 0, stands for its opposite as well.
        self._weights = np.where(across == 0, 1, np.sqrt(2)).astype(np.float32)[:, None]
        steps = np.arange(-LARGEST_SHIFT, LARGEST_SHIFT + SHIFT_STEP, SHIFT_STEP)
        turns = np.multiply.outer(steps, across / width)[:, None, :, None]
        turns = turns + np.multiply.outer(steps, down / height)[None, :, None, :]
        phases = np.exp(2j * np.pi * turns).reshape(len(steps) ** 2, -1)
        self._shifts = np.tile(phases, channels).T.astype(np.complex64)

    def spectra(self, images: NDArray[Any]) -> tuple[Spectra, Floats]:
        """The frequencies of each image as a row of length 1, and its contrast in [0, 1]."""
        count, height, width, channels = images.shape
        # Two large products: NumPy is slow at many small ones.
        lines = np.ascontiguousarray(to_float(images).transpose(0, 3, 1, 2)).reshape(-1, width)
        across = (lines @ self._across.view(np.float32)).view(np.complex64)
        across = across.reshape(count * channels, height, -1)
        found = across.transpose(0, 2, 1).reshape(-1, height) @ self._down
        found = found.reshape(count, channels, *self._constant.shape)
        middle = self._constant.shape[1] // 2
        mean = found[:, :, :1, middle, None] / self._constant[0, middle]
        found = (found - mean * self._constant) * self._weights
        rows = found.reshape(count, -1)
        lengths = np.linalg.norm(rows, axis=1)
        rows /= np.maximum(lengths, np.finfo(np.float32).tiny)[:, None]
        return rows, lengths / (height * width)

    def sizes(self, images: NDArray[Any]) -> tuple[Floats, Floats]:
        """The same without the phases."""
        spectra, contrast = self.spectra(images)
        return np.abs(spectra), contrast

    def unexplained(self, first: Spectra, second: Spectra) -> Floats:
        """The share of each image that the other one, moved and scaled, does not explain."""
        alike = ((first * second.conj()) @ self._shifts).real.max(axis=1)
        unexplained: Floats = 1 - np.square(np.clip(alike, 0, 1))
        return unexplained


def _fading(length: int) -> NDArray[np.float64]:
    places = (np.arange(length) + 0.5) / length
    inside = np.minimum(np.minimum(places, 1 - places) / FADED, 1)
    return np.square(np.sin(np.pi / 2 * inside))


def _waves(length: int, *, both_ways: bool) -> tuple[Spectra, NDArray[np.intp]]:
    """Waves as columns, faded to the edges, and their frequencies."""
    highest = min(HIGHEST_FREQUENCY, (length - 1) // 2)
    frequencies = np.arange(-highest if both_ways else 0, highest + 1)
    turns = np.multiply.outer(np.arange(length), frequencies) / length
    waves = np.exp(-2j * np.pi * turns) * _fading(length)[:, None]
    return waves.astype(np.complex64), frequencies


def _near(points: Floats) -> Iterator[tuple[Indices, Indices]]:
    """Pairs of points that are far nearer to each other than to points further off."""
    for inside, around in _cells(points):
        place = min(PLACE, max(FIRST_PLACE, len(points) // KINDS), len(around) - 1)
        if place < 2:
            continue
        others = points[around]
        lengths = np.square(others).sum(axis=1)
        for start in range(0, len(inside), ROWS_AT_A_TIME):
            rows = inside[start : start + ROWS_AT_A_TIME]
            some = points[rows]
            squares = np.square(some).sum(axis=1)[:, None] + lengths - 2 * some @ others.T
            squares[around == rows[:, None]] = np.inf
            close = np.flatnonzero(squares.min(axis=1) < MOST_UNEXPLAINED)
            squares = squares[close]
            further = np.partition(squares, place - 1, axis=1)[:, place - 1, None]
            row, column = np.nonzero(squares < np.minimum(MOST_UNEXPLAINED, NEAR * further))
            yield rows[close[row]], around[column]


def _cells(points: Floats) -> Iterator[tuple[Indices, Indices]]:
    """Points that lie together, and those around them, which include them."""
    everyone = np.arange(len(points))
    if len(points) <= ALL_WITH_ALL:
        yield everyone, everyone
        return
    count = len(points) // max(CELL_SIZE, math.isqrt(len(points)))
    middles = points[np.linspace(0, len(points) - 1, count).astype(int)]
    halves = 0.5 * np.square(middles).sum(axis=1)
    nearest = np.empty((len(points), NUM_CELLS), np.int32)
    for start in range(0, len(points), POINTS_AT_A_TIME):
        part = slice(start, start + POINTS_AT_A_TIME)
        distances = halves - points[part] @ middles.T
        found = np.argpartition(distances, np.arange(NUM_CELLS), axis=1)
        nearest[part] = found[:, :NUM_CELLS]
    owners, members = _by_cell(nearest[:, 0], count), _by_cell(nearest.ravel(), count)
    for inside, around in zip(owners, members, strict=True):
        around //= NUM_CELLS
        if len(around) <= LARGEST_CELL:
            yield inside, around
        else:
            yield from _pieces(points, around)


def _by_cell(cells: NDArray[np.int32], count: int) -> list[Indices]:
    order = np.argsort(cells, kind="stable")
    return np.split(order, np.searchsorted(cells[order], np.arange(1, count)))


def _pieces(points: Floats, inside: Indices) -> Iterator[tuple[Indices, Indices]]:
    """A large cell in overlapping parts, along the direction in which it is longest."""
    centered = points[inside] - points[inside].mean(axis=0)
    longest = np.linalg.eigh(centered.T @ centered)[1][:, -1]
    ordered = inside[np.argsort(centered @ longest, kind="stable")]
    for start in range(0, len(ordered), LARGEST_CELL // 2):
        piece = ordered[start : start + LARGEST_CELL]
        yield piece, piece


def _stars(count: int, first: Indices, second: Indices) -> Indices:
    """Groups around the images with the most near-copies: chains of alike images do not merge."""
    links = np.unique(np.concatenate([first * count + second, second * count + first]))
    ends = links % count
    bounds = np.searchsorted(links // count, np.arange(count + 1))
    leaders = np.arange(count)
    free = np.ones(count, bool)
    linked = np.flatnonzero(np.diff(bounds))
    for center in linked[np.argsort(-np.diff(bounds)[linked], kind="stable")]:
        if free[center]:
            near = ends[bounds[center] : bounds[center + 1]]
            leaders[near[free[near]]] = center
            free[near] = free[center] = False
    return leaders
