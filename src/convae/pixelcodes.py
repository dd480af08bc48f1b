"""Fit what codes the bytes of pixels: for each plane a network, of one of two sorts."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convae.coding.blocks import to_planes
from convae.coding.contextmodel import ContextModel
from convae.coding.contexts import HALF, NUM_PLACES, ContextNetwork, exponentials
from convae.coding.rans import TOTAL
from convae.coding.samples import Contexts, ContextSampler
from convae.nn.contexts import train_contexts

Progress = Callable[[int, int], None]

# Chosen on held-out images of MNIST's training split.
MOST_STEPS = 10_000
FEWEST_STEPS = 500
BATCH_SIZE = 4096
# Few bytes are seen more often, as far as that helps.
PASSES = 20
# Both sorts of networks learn for so many steps, from all but one image of so many.
TRIAL_STEPS = 500
HELD_OUT = 10
TRIAL_BYTES = 1 << 15


def fit_contexts(
    images: NDArray[Any], seed: int, progress: Progress | None = None
) -> tuple[ContextModel, list[tuple[float, float]]]:
    """Networks that predict each byte of a pixel, in those before it.

    Whether one is of distances (`convae.coding.contexts`) is decided for each plane by what a short
    training of both sorts comes to on images held out; one image alone is held out from nobody.
    Values of 16 bits are not told by distance.

    Args:
        images: uint8 or uint16 `(num_images, height, width, channels)`.
        seed: Decides what is drawn.
        progress: Called with the steps done and all steps.

    Returns:
        The networks; and of each plane the bits a byte on the images held out, by value and by
        distance, in short trainings. There are none for 16 bits.
    """
    planes = to_planes(images)
    num_planes = planes.shape[3]
    bits = 8 * images.itemsize
    num_steps = int(np.clip(PASSES * planes[..., 0].size / BATCH_SIZE, FEWEST_STEPS, MOST_STEPS))
    done, total = 0, num_planes * (num_steps + (2 * TRIAL_STEPS if bits == 8 else 0))

    def train(seen: NDArray[np.uint8], plane: int, steps: int, by_distance: bool) -> Any:  # noqa: ANN401
        nonlocal done
        sampler, before = ContextSampler(seen, plane, seed), done
        done += steps

        def tell(step: int, _: int) -> None:
            if progress is not None:
                progress(before + step, total)

        return train_contexts(
            lambda: sampler.draw(BATCH_SIZE), plane, num_planes, steps, seed, by_distance, tell
        )

    tables, trials = [], []
    for plane in range(num_planes):
        by_distance = False
        if bits == 8:
            held_out = np.arange(len(planes)) % HELD_OUT == 0
            learned = planes[~held_out if len(planes) > 1 else held_out]
            judged = ContextSampler(planes[held_out], plane, seed).draw(TRIAL_BYTES)
            costs = [
                bits_a_byte(
                    ContextNetwork(
                        plane, num_planes, train(learned, plane, TRIAL_STEPS, sort), exponentials(),
                        sort,
                    ),
                    judged,
                )
                for sort in (False, True)
            ]  # fmt: skip
            trials.append((costs[0], costs[1]))
            by_distance = costs[1] < costs[0]
        tables.append((train(planes, plane, num_steps, by_distance), by_distance))
    chosen = [plane for plane, (_, by_distance) in enumerate(tables) if by_distance]
    return ContextModel.of([table for table, _ in tables], exponentials(), bits, chosen), trials


def bits_a_byte(network: ContextNetwork, contexts: Contexts) -> float:
    """What a network needs for bytes in their contexts, by their weights."""
    inputs = contexts.inputs
    places = NUM_PLACES * contexts.rows.astype(np.int64) + contexts.columns
    hidden = network.hidden(inputs, places)
    coded = contexts.values - network.origin(inputs) & 255
    high, low = np.divmod(coded, HALF)
    bits = np.zeros(len(coded))
    index = np.arange(len(coded))
    for bounds, half in (
        (network.high_bounds(hidden), high),
        (network.low_bounds(hidden, high), low),
    ):
        bits -= np.log2((bounds[half + 1, index] - bounds[half, index]) / TOTAL)
    return float(np.average(bits, weights=contexts.weights))
