"""Random distortions of images, as numbers to draw and to apply: where pixels lie, and their light.

A distortion says for each pixel which place of the image it shows. That place is moved by a sum of
a few smooth fields, so an image's distortion is as many numbers, whatever its size. What is shown
may then be lighter or darker, each channel by a number of its own.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convae.architecture.recipe import WITHOUT_FLIP, TrainingOptions

Floats = NDArray[np.float32]

# What a warp of strength 1 is, as standard deviations: turns in radians, scalings of each side,
# shears, and waves in shares of a side. Chosen on held-out images of MNIST's training split.
TURN, SCALE, SHEAR, WAVE = 0.105, 0.06, 0.1, 0.025
# A fourth channel is opacity, which is no light.
COLORS = 3
# Waves of up to this many half periods to each side.
MOST_HALF_PERIODS = 3
# Shares of the images, each time: the others are as sharp, turned and bright as they are.
WARPED, FLIPPED, LIT = 0.5, 0.5, 0.5
# Fields before the waves: one that moves all, and one that grows along each side.
CONSTANT, DOWN, RIGHT, WAVES = 0, 1, 2, 3


class Moves(NamedTuple):
    """How each of some images is distorted.

    Args:
        places: float32 `(num_images, 2, 1 + num_fields)`, for rows and columns: 1 where they are
            flipped, else 0; and how far each field of `Distortion.fields` moves them, in pixels.
        lights: float32 `(num_images, channels)`: what is added to each channel.
    """

    places: Any
    lights: Any


@dataclass(frozen=True, slots=True)
class Distortion:
    """Which distortions are drawn.

    Args:
        translation: Largest shift down or up and right or left, in whole pixels.
        warp: Strength of turns, scalings, shears and waves, 0 or more.
        flip: "none", "horizontal" (right and left change sides), "vertical" or "both".
        brightness: Standard deviation of what is added to all pixels of all colors of half of the
            images, 0 or more.
        tint: The same for each of several colors alone.
    """

    translation: int = 0
    warp: float = 0.0
    flip: str = WITHOUT_FLIP
    brightness: float = 0.0
    tint: float = 0.0

    def __bool__(self) -> bool:
        """Whether it changes anything."""
        return self != Distortion()

    def fields(self, height: int, width: int) -> Floats:
        """How far each field moves each pixel, float32 `(num_fields, height * width)`."""
        rows = [np.ones((height, width))]
        if self.warp:
            down, right = np.linspace(-1, 1, height), np.linspace(-1, 1, width)
            rows += np.meshgrid(down, right, indexing="ij")
            for periods in _half_periods():
                waves = (
                    np.cos(np.pi * count * (places + 1) / 2)
                    for count, places in zip(periods, (down, right), strict=True)
                )
                rows.append(np.outer(*waves))
        return np.reshape(rows, (len(rows), -1)).astype(np.float32)

    def draw(
        self,
        num_images: int,
        shape: tuple[int, int, int],
        random: np.random.Generator,
        *,
        always: bool = False,
    ) -> Moves:
        """A distortion for each image.

        Args:
            num_images: How many.
            shape: Height, width and channels of an image.
            random: Where they are drawn from.
            always: Whether all images are flipped, warped and lit, and not half of them each.
        """
        height, width, channels = shape
        num_fields = WAVES + len(_half_periods()) if self.warp else 1
        places = np.zeros((num_images, 2, 1 + num_fields), np.float32)
        flips, fields = places[:, :, 0], places[:, :, 1:]
        if self.flip != WITHOUT_FLIP:
            flipped = [self.flip in (side, "both") for side in ("vertical", "horizontal")]
            flips[:] = flipped & (always | (random.random((num_images, 2)) < FLIPPED))
        most = self.translation
        fields[:, :, CONSTANT] = random.integers(-most, most + 1, (num_images, 2))
        if self.warp:
            chosen = np.flatnonzero(always | (random.random(num_images) < WARPED))
            fields[chosen] += self.warp * _warps(len(chosen), height, width, random)
        lights = np.zeros((num_images, channels), np.float32)
        if self.brightness or self.tint:
            chosen = np.flatnonzero(always | (random.random(num_images) < LIT))
            lights[chosen, :COLORS] = self._drawn_lights(len(chosen), channels, random)
        return Moves(places, lights)

    def _drawn_lights(self, num_images: int, channels: int, random: np.random.Generator) -> Floats:
        """What is added to each color, `(num_images, colors)`."""
        tint = self.tint if channels > 1 else 0.0
        common = self.brightness * random.standard_normal((num_images, 1))
        own = tint * random.standard_normal((num_images, min(channels, COLORS)))
        return (common + own).astype(np.float32)


# The options of a recipe that say how images are distorted.
DISTORTIONS = tuple(Distortion.__dataclass_fields__)


def distortion_of(options: TrainingOptions) -> Distortion:
    """How a recipe distorts images."""
    return Distortion(**{name: getattr(options, name) for name in DISTORTIONS})


def sources(xp: Any, places: Any, fields: Any, height: int, width: int) -> Any:  # noqa: ANN401
    """Which place of its image each pixel shows.

    Args:
        xp: NumPy, or `keras.ops`.
        places: Those that `Distortion.draw` gave, `(num_images, 2, 1 + num_fields)`.
        fields: What `Distortion.fields` gave.
        height: Rows of an image.
        width: Columns.

    Returns:
        Rows and columns, each `(num_images, height, width)`, in pixels and within the image: what
        lies outside shows the edge.
    """
    flow = xp.reshape(xp.matmul(places[:, :, 1:], fields), (-1, 2, height, width))
    found = []
    for axis, (length, shape) in enumerate(((height, (1, -1, 1)), (width, (1, 1, -1)))):
        shown = xp.reshape(xp.arange(length, dtype="float32"), shape) - flow[:, axis]
        flipped = places[:, axis, :1, None]
        shown = shown + flipped * (length - 1 - 2 * shown)
        found.append(xp.clip(shown, 0, length - 1))
    return found


def _half_periods() -> list[tuple[int, int]]:
    most = range(MOST_HALF_PERIODS + 1)
    return [(down, right) for down in most for right in most if down or right]


def _warps(num_images: int, height: int, width: int, random: np.random.Generator) -> Floats:
    """How far each field moves images that are warped at a strength of 1."""
    turns = TURN * random.standard_normal(num_images)
    scales = SCALE * random.standard_normal((num_images, 2))
    shears = SHEAR * random.standard_normal(num_images)
    periods = np.array(_half_periods())
    sizes = WAVE * (height + width) / 2 / periods.sum(axis=1)
    warps = np.zeros((num_images, 2, WAVES + len(periods)), np.float32)
    warps[:, 0, DOWN], warps[:, 1, RIGHT] = (scales * (height / 2, width / 2)).T
    warps[:, 0, RIGHT] = turns * width / 2
    warps[:, 1, DOWN] = (shears - turns) * height / 2
    warps[:, :, WAVES:] = sizes * random.standard_normal((num_images, 2, len(periods)))
    return warps
