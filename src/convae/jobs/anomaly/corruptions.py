"""Made-up anomalies: normal images with something wrong, to choose a score without real ones.

They stand for kinds of change, not for real anomalies: a score that tells them apart may still
miss what matters to a user.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

Floats = NDArray[np.float32]
Generator = np.random.Generator

# In shares of an image's side.
SMALLEST_PART, LARGEST_PART = 0.2, 0.45
WARP_LENGTH, WARP_SIZE = 0.14, 0.07
SCRATCH_WIDTH = 0.05
STEPS_OF_A_SCRATCH = 64
TINT = 0.3  # the deviation of a channel's gain, as a logarithm


def corruptions(images: Floats, seed: int) -> Iterator[tuple[str, Floats]]:
    """Each kind of corruption, of every image; changes of color need several channels.

    Args:
        images: float32 in [0, 1], `(num_images, height, width, channels)`, 2 or more.
        seed: The same seed makes the same changes.

    Yields:
        The kind, and the changed images, of the same shape and range.
    """
    kinds = KINDS if images.shape[3] == 1 else KINDS | COLOR_KINDS
    for index, (name, change) in enumerate(kinds.items()):
        generator = np.random.default_rng([seed, index])
        others = np.roll(generator.permutation(len(images)), 1)
        changed = [
            change(image, images[other], generator)
            for image, other in zip(images, others, strict=True)
        ]
        yield name, np.clip(np.stack(changed), 0, 1).astype(np.float32)


def _place(image: Floats, generator: Generator) -> tuple[slice, slice]:
    """A rectangle inside an image."""
    sides = []
    for length in image.shape[:2]:
        share = generator.uniform(SMALLEST_PART, LARGEST_PART)
        extent = max(2, round(share * length))
        start = int(generator.integers(0, length - extent + 1))
        sides.append(slice(start, start + extent))
    return sides[0], sides[1]


def _erase(image: Floats, _: Floats, generator: Generator) -> Floats:
    """The most varied of 8 parts is filled with the color of the border."""
    places = [_place(image, generator) for _ in range(8)]
    place = max(places, key=lambda place: float(image[place].std()))
    changed = image.copy()
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    changed[place] = np.median(border, axis=0)
    return changed


def _paste(image: Floats, other: Floats, generator: Generator) -> Floats:
    """A part is that of another image, from another place."""
    rows, columns = _place(image, generator)
    height, width = rows.stop - rows.start, columns.stop - columns.start
    top = int(generator.integers(0, image.shape[0] - height + 1))
    left = int(generator.integers(0, image.shape[1] - width + 1))
    changed = image.copy()
    changed[rows, columns] = other[top : top + height, left : left + width]
    return changed


def _join(image: Floats, other: Floats, generator: Generator) -> Floats:
    """One side is that of another image, turned upside down or left to right."""
    turned = other[::-1] if generator.random() < 0.5 else other[:, ::-1]
    cut = generator.uniform(0.35, 0.65)
    changed = image.copy()
    if generator.random() < 0.5:
        changed[: round(cut * len(image))] = turned[: round(cut * len(image))]
    else:
        changed[:, : round(cut * image.shape[1])] = turned[:, : round(cut * image.shape[1])]
    return changed


def _warp(image: Floats, _: Floats, generator: Generator) -> Floats:
    """The image is bent, smoothly and strongly."""
    height, width, channels = image.shape
    side = max(height, width)
    field = generator.standard_normal((2, height, width))
    field = gaussian_filter(field, (0, WARP_LENGTH * side, WARP_LENGTH * side))
    field *= 2 * WARP_SIZE * side / max(float(field.std()), 1e-12)
    places = np.indices((height, width)) + field
    planes = [
        map_coordinates(image[..., channel], places, order=1, mode="nearest")
        for channel in range(channels)
    ]
    return np.stack(planes, axis=2)


def _scratch(image: Floats, _: Floats, generator: Generator) -> Floats:
    """A line is drawn across a part, in the color farthest from what it crosses."""
    height, width, _channels = image.shape
    start, end = generator.uniform(0, 1, (2, 2)) * (height - 1, width - 1)
    steps = np.linspace(0, 1, STEPS_OF_A_SCRATCH)[:, None]
    points = start + steps * (end - start)
    rows, columns = np.indices((height, width))
    away = np.hypot(rows[..., None] - points[:, 0], columns[..., None] - points[:, 1]).min(axis=2)
    cover = np.clip(1.5 * SCRATCH_WIDTH * max(height, width) - away, 0, 1)[..., None]
    color = image.max(axis=(0, 1)) if image.mean() < 0.5 else image.min(axis=(0, 1))
    return np.asarray(image * (1 - cover) + color * cover, np.float32)


def _tint(image: Floats, _: Floats, generator: Generator) -> Floats:
    """The whole image or a part has a cast: its channels are brighter or darker, each by itself."""
    gains = np.exp(generator.normal(0, TINT, image.shape[2]))
    place = _place(image, generator) if generator.random() < 0.5 else (slice(None), slice(None))
    changed = image.copy()
    changed[place] = image[place] * gains
    return changed


KINDS: dict[str, Callable[[Floats, Floats, Generator], Floats]] = {
    "erase": _erase,
    "paste": _paste,
    "join": _join,
    "warp": _warp,
    "scratch": _scratch,
}
COLOR_KINDS: dict[str, Callable[[Floats, Floats, Generator], Floats]] = {"tint": _tint}
