"""Fit the networks that code the bytes of pixels: one for each plane, of one of two sorts."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convae.coding.blocks import to_planes
from convae.coding.contextmodel import ContextModel
from convae.coding.contexts import HALF, NUM_PLACES, ContextNetwork, exponentials
from convae.coding.rans import TOTAL
from convae.coding.samples import Contexts, ContextSampler
from convae.coding.tiles import TileCollector, Tiles
from convae.errors import DataError
from convae.nn.contexts import train_contexts

Progress = Callable[[int, int], None]

# Chosen on held-out images of MNIST's training split, of 100 to 60,000, and on photographs.
MOST_STEPS = 45_000
FEWEST_STEPS = 200
BATCH_SIZE = 1024
# Small sets are seen this many times, as far as that helps.
PASSES = 10
# Look-up tables memorize small sets, so their weight decay grows as the bytes get fewer. It is 1 at
# this many bytes.
DECAY_BYTES = 1e6
LARGEST_DECAY = 5.0
# The short training of both sorts: its steps at most, and one tile in this many held out.
TRIAL_STEPS = 1000
HELD_OUT = 10
TRIAL_BYTES = 1 << 15


def collect_tiles(
    batches: Iterable[tuple[NDArray[Any], Sequence[str]]], most_bytes: int, seed: int
) -> tuple[Tiles, int]:
    """Tiles to learn from, of the kind of pictures that has the most bytes.

    Args:
        batches: As `convae.exact_batches` gives them.
        most_bytes: What the tiles may take.
        seed: Decides which are kept.

    Returns:
        The tiles, and the bits of a value.

    Raises:
        DataError: There is no picture.
    """
    kinds: dict[tuple[int, int], TileCollector] = {}
    for images, _ in batches:
        bits = 8 * images.itemsize
        collector = kinds.setdefault((images.shape[3], bits), TileCollector(most_bytes, seed))
        collector.add(to_planes(images))
    if not kinds:
        raise DataError("There must be pictures to learn from; received none.")
    (_, bits), collector = max(kinds.items(), key=lambda kind: kind[1].num_bytes_seen)
    return collector.tiles(), bits


def fit_contexts(
    tiles: Tiles, bits: int, seed: int, progress: Progress | None = None
) -> tuple[ContextModel, list[tuple[float, float]]]:
    """Networks that predict each byte of a pixel from those before it.

    Whether one is of distances (`convae.coding.contexts`) is decided for each plane by what a short
    training of both sorts reaches on held-out tiles; a single tile is both trained and judged on.

    Args:
        tiles: What to learn from.
        bits: Of a value: 8, or 16, of which the high byte is one plane and the low one the next.
        seed: Decides what is drawn.
        progress: Called with the steps done and all steps.

    Returns:
        The networks; and for each plane the bits per byte on held-out tiles, by value and by
        distance, in short trainings.
    """
    num_planes = tiles.num_planes
    num_bytes = int(np.count_nonzero(tiles.inside))
    num_steps = int(np.clip(PASSES * num_bytes / BATCH_SIZE, FEWEST_STEPS, MOST_STEPS))
    trial_steps = min(TRIAL_STEPS, num_steps)
    done, total = 0, num_planes * (num_steps + 2 * trial_steps)

    def train(seen: Tiles, plane: int, steps: int, by_distance: bool) -> Any:  # noqa: ANN401
        nonlocal done
        sampler, before = ContextSampler(seen, plane, seed), done
        done += steps

        def tell(step: int, _: int) -> None:
            if progress is not None:
                progress(before + step, total)

        return train_contexts(
            lambda: sampler.draw(BATCH_SIZE),
            plane,
            num_planes,
            steps,
            seed,
            by_distance=by_distance,
            bits=bits,
            look_up_decay=look_up_decay(num_bytes),
            progress=tell,
        )

    held_out = np.arange(len(tiles)) % HELD_OUT == 0
    learned = tiles.some(~held_out if len(tiles) > 1 else held_out)
    tables, trials = [], []
    for plane in range(num_planes):
        judged = ContextSampler(tiles.some(held_out), plane, seed).draw(TRIAL_BYTES)

        def trial(by_distance: bool, plane: int = plane, judged: Contexts = judged) -> float:
            found = train(learned, plane, trial_steps, by_distance)
            network = ContextNetwork(plane, num_planes, found, exponentials(), by_distance, bits)
            return bits_a_byte(network, judged)

        by_value, by_distance = trial(False), trial(True)
        trials.append((by_value, by_distance))
        shorter = by_distance < by_value
        tables.append((train(tiles, plane, num_steps, shorter), shorter))
    chosen = [plane for plane, (_, by_distance) in enumerate(tables) if by_distance]
    return ContextModel.of([table for table, _ in tables], exponentials(), bits, chosen), trials


def look_up_decay(num_bytes: int) -> float:
    """Weight decay of look-up tables, by the number of bytes of a plane to learn from."""
    return min(DECAY_BYTES / num_bytes, LARGEST_DECAY)


def bits_a_byte(network: ContextNetwork, contexts: Contexts) -> float:
    """Bits per byte that a network needs for bytes in their contexts, weighted."""
    inputs = contexts.inputs
    hidden = network.hidden(inputs, NUM_PLACES * contexts.rows + contexts.columns)
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
