"""Fit a denoiser on noisy images alone: first what lies beneath the noise, then how to see it."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from convae.architecture.unet import UNet
from convae.images.contract import to_uint8
from convae.jobs.denoise.patches import Pieces
from convae.nn.blind import BYTES, BlindModel, Inputs, clean_values, train_blind
from convae.nn.unet import train_unet

Floats = NDArray[np.float32]

# The share of values that are hidden at a time.
HIDDEN = 0.125
# Of the steps, for the first network; the second one learns from it.
FIRST_SHARE = 0.5
# Levels of a clean value: so many for a standard deviation of the noise, within limits.
LEVELS_A_DEVIATION, FEWEST_LEVELS, MOST_LEVELS = 2, 17, 65
# Patches that the noise is first estimated on.
NUM_ESTIMATED = 64
# From whose values the expected error is.
BATCHES_JUDGED = 8


def train_on_noisy(
    plan: UNet,
    pieces: Pieces,
    count: int,
    sides: tuple[int, int],
    num_steps: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[dict[str, Floats], float, float]:
    """The weights of a network that takes away the noise of the images it learns from.

    One network learns to guess hidden values from all others (`convae.nn.blind`); it would take
    many passes to see an image whole. So the network of the plan learns to give, in one pass, the
    means that the first one finds.

    Args:
        plan: Of the network.
        pieces: Noisy images.
        count: Patches of a batch.
        sides: Of a patch.
        num_steps: Of both trainings together.
        seed: Decides the first weights, and what is hidden.
        progress: Called with the steps done and all steps.

    Returns:
        As `plan.weight_shapes()` says; the standard deviation of the noise; and the mean squared
        error that the first network expects of the best answers.
    """
    random = np.random.default_rng([seed, 3])
    first_steps = max(1, round(FIRST_SHARE * num_steps))

    def tell(step: int) -> None:
        if progress is not None:
            progress(step, num_steps)

    def batch() -> Inputs:
        seen = to_uint8(pieces.draw(count, sides, random))
        hidden = (random.random(seen.shape, np.float32) < HIDDEN).astype(np.float32)
        return {"seen": seen.astype(np.int32), "hidden": hidden}

    guess = _rough_deviation(pieces.draw(NUM_ESTIMATED, sides, random))
    num_levels = int(np.clip(LEVELS_A_DEVIATION / guess, FEWEST_LEVELS, MOST_LEVELS))
    model = BlindModel(plan.inputs, num_levels, plan.widths, plan.blocks)
    batches = (batch() for _ in range(first_steps))
    train_blind(model, batches, first_steps, guess, seed, progress=tell)

    def targets() -> Iterator[tuple[Floats, Floats]]:
        for _ in range(num_steps - first_steps):
            drawn = batch()
            noisy = drawn["seen"].astype(np.float32) / np.float32(BYTES - 1)
            yield noisy, clean_values(model, drawn)[0]

    weights = train_unet(
        plan, targets(), num_steps - first_steps, seed,
        progress=lambda step, _: tell(first_steps + step),
    )  # fmt: skip
    expected = [clean_values(model, batch())[1] for _ in range(BATCHES_JUDGED)]
    return weights, model.deviation, float(np.nanmean(expected))


def _rough_deviation(patches: Floats) -> float:
    """Of noise, by the median difference between neighbors in a row; too small where it clips."""
    steps = np.abs(np.diff(patches, axis=2))
    moved = steps[steps > 0]
    # Of a normal distribution, the median of the absolute value is 0.6745.
    middle = float(np.median(moved)) if moved.size else 1.0
    return max(middle / (0.6745 * 2**0.5), 1 / BYTES)
