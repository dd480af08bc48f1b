"""Choose how training images are distorted, by what is natural to them.

A distortion is natural to a set if distorted images look like others of it. So some images are held
out, and the nearest image to each is looked for: among a half of the others, among this half and
its distorted copies, and among all others. How much nearer the copies bring the nearest image,
relative to the other half, is what a distorted image is worth beside a new one: nothing for digits
that are flipped, nearly as much for photographs.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from sklearn.metrics.pairwise import euclidean_distances

from convae.architecture.recipe import FLIPS, WITHOUT_FLIP
from convae.images import to_float
from convae.images.distortion import COLORS, Distortion, sources
from convae.images.memory import chunks, release
from convae.images.resize import fit_size
from convae.images.selection import Selection, drawn_indices

Floats = NDArray[np.float32]

MOST_COMPARED, HELD_OUT = 1_000, 0.25
# Fewer cannot be cut in three; few images are cut in several ways.
FEWEST_COMPARED = 8
IMAGES_CUT, MOST_CUTS = 2_000, 16
# Larger images are compared at this size.
LARGEST_SIDE = 32
SHIFT, WARP, BRIGHTNESS = "shift", "warp", "brightness"
HORIZONTAL, VERTICAL = "horizontal flip", "vertical flip"
CANDIDATES = {
    SHIFT: Distortion(translation=1),
    WARP: Distortion(warp=1.0),
    HORIZONTAL: Distortion(flip="horizontal"),
    VERTICAL: Distortion(flip="vertical"),
}
LEAST_WORTH = {SHIFT: 0.12, WARP: 0.27, HORIZONTAL: 0.36, VERTICAL: 0.36, BRIGHTNESS: 0.12}
# So few images need a warp even if it suits them little.
FEW, LEAST_WORTH_OF_FEW = 100, {**LEAST_WORTH, WARP: 0.1}
# Among few images every copy is worth less; a flip must come near to a warp, which all sets bear.
LEAST_OF_WARP = 0.7
# More images show light of every kind themselves.
MOST_RELIT = 4_000
# Brightness and tint, as shares of how far the means of images, and of their colors, lie apart.
LIGHT, TINT = 0.5, 1.0
# A shift of one pixel for a side of so many.
SIDE_A_PIXEL = 28


@dataclass(frozen=True)
class Augmentation:
    """How training images are distorted, and why.

    Args:
        distortion: What is drawn.
        worth: What an image with each distortion is worth beside a new image, some 0 to 1; empty
            where there are too few images to tell.
        num_held_out: Images that this was measured on.
    """

    distortion: Distortion
    worth: Mapping[str, float]
    num_held_out: int

    def told(self) -> str:
        """It in words."""
        distortion, found = self.distortion, []
        if distortion.translation:
            pixels = "pixel" if distortion.translation == 1 else "pixels"
            found.append(f"shifts of up to {distortion.translation} {pixels}")
        if distortion.warp:
            found.append("mild warps")
        if distortion.flip != WITHOUT_FLIP:
            found.append(f"{distortion.flip} flips")
        if distortion.brightness:
            found.append("other brightness")
        if distortion.tint:
            found.append("other tints")
        said = "training images are met with " + (", ".join(found) or "no distortion")
        if not self.worth:
            return f"{said}; there are too few images to tell what suits them"
        worth = ", ".join(f"{name} {value:.2f}" for name, value in self.worth.items())
        return (
            f"{said}; on {self.num_held_out} held-out images a distorted image was worth this much "
            f"of a new one: {worth}"
        )

    def to_json(self) -> dict[str, Any]:
        """It as plain JSON values."""
        measured = {"worth": dict(self.worth), "num_held_out": self.num_held_out}
        return {**asdict(self.distortion), **measured}


def choose_augmentation(images: Selection, seed: int) -> Augmentation:
    """What suits images that are met often.

    Args:
        images: At most 1,000 of them are compared.
        seed: Decides which, and how they are cut.
    """
    compared = _small(images.take(drawn_indices(len(images), MOST_COMPARED, seed)))
    light = lights(compared)
    worth, num_held_out = measure_worth(compared, {**CANDIDATES, BRIGHTNESS: light}, seed)
    least_worth = LEAST_WORTH_OF_FEW if len(images) < FEW else LEAST_WORTH
    natural = {name: worth.get(name, 0) >= least for name, least in least_worth.items()}
    for flip in (HORIZONTAL, VERTICAL):
        natural[flip] &= worth.get(flip, 0) >= LEAST_OF_WARP * worth.get(WARP, 0)
    natural[BRIGHTNESS] &= len(images) <= MOST_RELIT
    if not worth:
        natural[SHIFT] = natural[WARP] = True
    pixels = max(1, round(max(images.shape[1:3]) / SIDE_A_PIXEL))
    # FLIPS lists neither, one, the other, and both.
    flip = FLIPS[natural[HORIZONTAL] + 2 * natural[VERTICAL]]
    distortion = replace(
        light if natural[BRIGHTNESS] else Distortion(),
        translation=pixels if natural[SHIFT] else 0,
        warp=float(natural[WARP]),
        flip=flip,
    )
    return Augmentation(distortion, worth, num_held_out)


def lights(images: Floats) -> Distortion:
    """Brightness and tints that images have beside others of their set.

    Args:
        images: float32 in [0, 1], `(num_images, height, width, channels)`.
    """
    means = images[..., :COLORS].mean(axis=(1, 2))
    brightness = means.mean(axis=1, keepdims=True)
    tints = means - brightness
    # In the digits that a user would give.
    return Distortion(
        brightness=round(float(LIGHT * brightness.std()), 3),
        tint=round(float(TINT * tints.std(axis=0).mean()), 3),
    )


def measure_worth(
    compared: Floats, candidates: Mapping[str, Distortion], seed: int
) -> tuple[dict[str, float], int]:
    """What distorted images are worth beside new ones, and the number of images it was measured on.

    Args:
        compared: float32 in [0, 1], `(num_images, height, width, channels)`.
        candidates: Distortions by name.
        seed: Decides how they are cut.
    """
    count = len(compared)
    if count < FEWEST_COMPARED:
        return {}, 0
    random = np.random.default_rng([seed, 2])
    num_held_out = round(count * HELD_OUT)
    gains, possible = dict.fromkeys(candidates, 0.0), 0.0
    for _ in range(min(MOST_CUTS, max(1, IMAGES_CUT // count))):
        order = random.permutation(count)
        held_out, others = compared[order[:num_held_out]], compared[order[num_held_out:]]
        half, other_half = np.array_split(others, 2)
        known = _nearest(held_out, half)
        possible += float((known - np.minimum(known, _nearest(held_out, other_half))).sum())
        for name, distortion in candidates.items():
            distances = _nearest(held_out, _distorted(half, distortion, random))
            gains[name] += float((known - np.minimum(known, distances)).sum())
    if possible <= 0:  # images that are all alike
        return dict.fromkeys(candidates, 0.0), num_held_out
    return {name: gain / possible for name, gain in gains.items()}, num_held_out


def _small(images: Selection) -> Floats:
    """Images at the size at which they are compared; a few at a time are read."""
    height, width = images.shape[1:3]
    largest = max(height, width)
    if largest <= LARGEST_SIDE:
        return to_float(images[:])
    height, width = (max(1, round(side * LARGEST_SIDE / largest)) for side in (height, width))
    found = [
        fit_size(image, height, width, "stretch")
        for part in chunks(images)
        for image in images[part]
    ]
    release(images.images)
    return to_float(np.stack(found))


def _distorted(images: Floats, distortion: Distortion, random: np.random.Generator) -> Floats:
    """Each image once more; a warp takes all of them, not the share that training takes."""
    count, height, width, channels = images.shape
    moves = distortion.draw(count, (height, width, channels), random, always=True)
    shown = sources(np, moves.places, distortion.fields(height, width), height, width)
    places = np.stack(shown, axis=1)
    found = np.empty_like(images)
    for number, image in enumerate(images):
        for channel in range(channels):
            map_coordinates(
                image[:, :, channel], places[number], found[number, :, :, channel], order=1
            )
    found += moves.lights[:, None, None]
    return found.clip(0, 1, out=found)


def _nearest(images: Floats, others: Floats) -> Floats:
    """Squared distance of each image to the nearest of others."""
    rows = (some.reshape(len(some), -1) for some in (images, others))
    found: Floats = euclidean_distances(*rows, squared=True).min(axis=1)
    return found
