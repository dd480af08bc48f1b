"""How strong the noise of an image is: of gaussian noise that the file clipped."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

# Where values are clipped, the image itself is taken to one of so many levels.
LEVELS = 256
# The estimate moves by less than a thousandth long before.
MOST_ITERATIONS = 100
CLOSE = 1e-4
# Of the standard deviation: half a step of 8 bits.
LEAST = 0.5 / 255


def noise_deviation(
    noisy: Floats, clean: Floats, errors: Sequence[tuple[float, float]] = ()
) -> float:
    """The most likely standard deviation of gaussian noise, whose values beyond [0, 1] are clipped.

    By expectation and maximization: what was clipped counts with its expected square (Dempster,
    Laird and Rubin, "Maximum likelihood from incomplete data via the EM algorithm", 1977).

    Args:
        noisy: float32 in [0, 1], any shape.
        clean: What it is without noise, or an estimate; the same shape.
        errors: The mean squared error of such estimates by the deviation: pairs, deviations going
            up. A best estimate takes that much of the noise for the image.

    Returns:
        Of values in [0, 1].
    """
    black, white = noisy <= 0, noisy >= 1
    inside = ~(black | white)
    squares = float(np.square(noisy - clean, dtype=np.float64)[inside].sum())
    # How far the image lies from the value that its noise had to pass.
    distances = np.concatenate([clean[black], 1 - clean[white]])
    levels = np.rint(np.clip(distances, 0, 1) * (LEVELS - 1)).astype(np.intp)
    counts = np.bincount(levels, minlength=LEVELS)
    used = np.flatnonzero(counts)
    gaps, weights = used / (LEVELS - 1), counts[used]
    strengths, missed = np.array([(0.0, 0.0), *errors]).T
    variance = max(float(np.square(noisy - clean, dtype=np.float64).mean()), LEAST**2)
    for _ in range(MOST_ITERATIONS):
        deviation = math.sqrt(variance)
        expected = np.array([_square_beyond(gap / deviation) for gap in gaps])
        found = (squares + variance * float(weights @ expected)) / noisy.size
        found += float(np.interp(deviation, strengths, missed))
        before, variance = variance, max(found, LEAST**2)
        if abs(variance - before) < CLOSE * before:
            break
    return math.sqrt(variance)


def _square_beyond(bound: float) -> float:
    """The mean square of a standard normal number beyond a bound of 0 or more."""
    beyond = math.erfc(bound / math.sqrt(2)) / 2
    if beyond < 1e-300:
        return bound * bound + 2
    density = math.exp(-bound * bound / 2) / math.sqrt(2 * math.pi)
    return 1 + bound * density / beyond
