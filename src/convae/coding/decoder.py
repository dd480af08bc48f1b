"""The decoder of an autoencoder in integers: the same pixels from the same codes on every machine.

A code is an integer for each latent, and activations are integers too. Sums of their products with
weights, which are integers over a power of two, are kept in float32 and below 2^24 of their
smallest part: so they are exact in any order, with any library and any number of threads. What
remains between two layers are single additions and multiplications, a larger one of two and a
rounding downwards, which IEEE 754 defines to the bit.

The layers are those of the network: a dense one, a transposed convolution of stride 2 for each
stage with a leaky rectifier and the scale and offset of its batch normalization, and a transposed
convolution of stride 1. Weights and biases are scaled so that each sum is in units of the next
layer's activations; a scale below zero is in the signs of the next layer's weights.

The dense layer and the first stage's products are one product with a matrix, where that has at
most 2^22 numbers: the exact ones, rounded to the nearest over the largest power of two by which
their sums stay below 2^24. Otherwise what the dense layer gives is rounded to whole activations.

Guarantees:

1. Pixels follow from the tables and the codes alone, on every machine.
2. Tables that could let a sum reach 2^24 are refused.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convae.architecture.plan import KERNEL_SIDE, MOST_STAGES, NEGATIVE_SLOPE, Architecture
from convae.coding.threads import Run, do_in_parts
from convae.errors import ParameterError
from convae.storage.tables import Table, check_tables

Floats = NDArray[np.float32]
Codes = NDArray[np.int64]
Tables = Mapping[str, NDArray[Any]]

LARGEST_CODE = 63
LARGEST_ACTIVATION = 1023
SLOPE = np.float32(NEGATIVE_SLOPE)
# Places behind the point of the offset of an activation.
OFFSET_BITS = 10
# Logits of pixels, in 1/32, from -16 to 16.
NUM_LOGITS, LOGIT_BITS = 1024, 5
EXACT = 1 << 24
LARGEST_SHIFT = 40
# As many images at a time as keep the largest array of a stage near the processor.
BATCH_NUMBERS = 3 << 19
# So many batches at a time are one thread's, and use the same memory.
BATCHES_A_THREAD = 4
LARGEST_MERGED = 1 << 22
# Numbers of the largest array for one image: few bytes of tables can stand for large volumes.
MOST_NUMBERS = 1 << 27
# Where an array has more, one thread does all the work, so that there is one of them.
MOST_NUMBERS_A_THREAD = 1 << 24
# Rows and columns of a kernel whose products stay at their place, by the parity of the row and the
# column to come; then those that are added to one parity, from above, from the left, or both.
_OWN = ((0, 0), (0, 1), (1, 0), (1, 1))
_MOVED = (((0, 2), (0, 0)), ((2, 0), (0, 0)), ((2, 2), (0, 0)), ((2, 1), (0, 1)), ((1, 2), (1, 0)))


@dataclass(frozen=True, eq=False)
class IntegerDecoder:
    """A decoder of images of one size.

    Args:
        shape: Height, width and channels of an image.
        tables: `volume/weights` and `volume/bias`; for each stage *i* from 0 `i/weights` (3, 3, in,
            out), `i/bias` and `i/offsets`; `pixels/weights`, `pixels/bias`; `logits`, the pixel of
            each logit; `shifts`, the power of two that each layer's weights and biases are over.

    Raises:
        ParameterError: A table is missing, of another kind, or lets a sum reach 2^24.
    """

    shape: tuple[int, int, int]
    tables: Tables

    def __post_init__(self) -> None:
        _check(self.shape, self.tables)

    def _layer(self, name: str, number: int, kind: type = np.float32) -> tuple[Any, Any]:
        """Weights and bias of a layer, over their power of two."""
        scale = kind(2.0 ** -float(self.tables["shifts"][number]))
        weights, bias = (self.tables[f"{name}/{part}"] for part in ("weights", "bias"))
        return weights.astype(kind) * scale, bias.astype(kind) * scale

    @cached_property
    def _dense(self) -> tuple[Floats, Floats]:
        """Weights and bias of the dense layer, and of the first stage too where they are merged."""
        weights, bias = self._layer("volume", 0, np.float64 if self._merged else np.float32)
        both = np.concatenate([weights, bias[np.newaxis]]).T
        rows, columns, channels = first_volume(self.shape, self.filters)
        volumes = both.reshape(rows, columns, channels, -1).transpose(2, 0, 1, 3)
        if self._merged:
            kernel, own = self._layer("0", 1, np.float64)
            volumes = products(np.ascontiguousarray(volumes), by_tap(kernel), Space(np.float64))
            volumes[..., -1] += own[:, np.newaxis, np.newaxis]
        found = volumes.reshape(-1, both.shape[1])
        if self._merged:
            found = _rounded(found)
        else:
            found[:, -1] += np.float32(0.5)
        return np.ascontiguousarray(found[:, :-1]), np.ascontiguousarray(found[:, -1:])

    @property
    def _merged(self) -> bool:
        rows, columns, filters = first_volume(self.shape, self.filters)
        return self.num_codes * 4 * rows * columns * filters <= LARGEST_MERGED

    @cached_property
    def _stages(self) -> list[tuple[Floats, Floats, Floats]]:
        """Of each stage the weights of `products`, bias and offsets."""
        stages = []
        for stage in range(num_stages(self.tables)):
            kernel, bias = self._layer(f"{stage}", 1 + stage)
            offsets = (self.tables[f"{stage}/offsets"] / (1 << OFFSET_BITS)).astype(np.float32)
            stages.append((by_tap(kernel), _by_filter(bias), _by_filter(offsets)))
        return stages

    @cached_property
    def _pixels(self) -> tuple[Floats, Floats]:
        """Weights of `_same_size`, and bias."""
        kernel, bias = self._layer("pixels", -1)
        return by_move(kernel), _by_filter(bias)

    @property
    def _largest_array(self) -> int:
        """Numbers that a stage has in one array for each image."""
        sizes = stage_sizes(self.shape, self.filters)
        return max(sizes[1 if self._merged and len(sizes) > 2 else 0 : -1])

    @property
    def filters(self) -> tuple[int, ...]:
        """Filters of each stage, from the image inwards."""
        return _filters(self.tables)

    @property
    def num_codes(self) -> int:
        """Integers of a code."""
        return int(self.tables["volume/weights"].shape[0])

    def decode(self, codes: Codes, run: Run = map) -> NDArray[np.uint8]:
        """Images of codes.

        Args:
            codes: int64 `(num_images, num_codes)`, from -63 to 63.
            run: `map`, or that of threads that share the work.

        Returns:
            uint8 `(num_images, height, width, channels)`.
        """
        images = np.empty((len(codes), *self.shape), np.uint8)
        at_a_time = max(1, BATCH_NUMBERS // self._largest_array)

        def decode_some(some: slice) -> None:
            space = Space()
            for first in range(some.start, some.stop, at_a_time):
                part = slice(first, min(first + at_a_time, some.stop))
                images[part] = self._decode(codes[part], space)

        if max(stage_sizes(self.shape, self.filters)) > MOST_NUMBERS_A_THREAD:
            run = map
        do_in_parts(run, decode_some, len(codes), BATCHES_A_THREAD * at_a_time)
        return images

    def _decode(self, codes: Codes, space: "Space") -> NDArray[np.uint8]:
        count = len(codes)
        rows, columns, filters = first_volume(self.shape, self.filters)
        weights, bias = self._dense
        sums = space.take("first sums", (len(bias), count))
        np.matmul(weights, np.ascontiguousarray(codes.T, np.float32), out=sums)
        sums += bias
        stages = self._stages
        if self._merged:
            (_, _, offsets), *stages = stages
            found = sums.reshape(2, 2, filters, rows, columns, count)
            _activate(found, offsets, space)
        else:
            found = sums.reshape(1, 1, filters, rows, columns, count)
            _whole(found)
        for kernels, bias, offsets in stages:
            found = products(_together(found, space), kernels, space)
            found += bias
            _activate(found, offsets, space)
        weights, bias = self._pixels
        logits = _same_size(found, weights, space)
        logits += bias
        logits += NUM_LOGITS // 2
        # Cut off rather than rounded down: the same where nothing is below 0.
        places = np.clip(logits, 0, NUM_LOGITS - 1, out=logits).astype(np.intp)
        images = image_by_image(self.tables["logits"].take(places))
        height, width, _ = self.shape
        top, left = (images.shape[1] - height) // 2, (images.shape[2] - width) // 2
        return images[:, top : top + height, left : left + width]


def num_stages(tables: Tables) -> int:
    """How many stages a decoder has."""
    return sum(name.endswith("/offsets") for name in tables)


def _filters(tables: Tables) -> tuple[int, ...]:
    names = [f"{stage}/offsets" for stage in reversed(range(num_stages(tables)))]
    return tuple(tables[name].size for name in names if name in tables)


def first_volume(shape: tuple[int, int, int], filters: tuple[int, ...]) -> tuple[int, int, int]:
    """Rows, columns and channels of what the dense layer gives."""
    scale = 1 << len(filters)
    return -(-shape[0] // scale), -(-shape[1] // scale), filters[-1]


def stage_sizes(shape: tuple[int, int, int], filters: tuple[int, ...]) -> list[int]:
    """Numbers of the largest array of each stage, for one image, and of that of the pixels."""
    rows, columns, _ = first_volume(shape, filters)
    sizes = [
        (KERNEL_SIDE**2 * count * rows * columns) << 2 * stage
        for stage, count in enumerate(reversed(filters))
    ]
    return [*sizes, (4 * shape[2] * rows * columns) << 2 * len(filters)]


def check_sizes(shape: tuple[int, int, int], filters: tuple[int, ...]) -> None:
    """Refuse a decoder whose arrays would take too much memory.

    Args:
        shape: Of an image.
        filters: From the image inwards.

    Raises:
        ParameterError: It would.
    """
    most = max(stage_sizes(shape, filters))
    if most > MOST_NUMBERS:
        raise ParameterError(
            f"An integer decoder's arrays must have at most {MOST_NUMBERS:,} numbers; received "
            f"images of {shape[0]} x {shape[1]} x {shape[2]} and filters {filters}, which lead to "
            f"{most:,}. Use smaller images, or fewer filters or stages."
        )


def _activate(sums: Floats, offsets: Floats, space: "Space") -> None:
    """Make sums activations, in place."""
    sloped = np.multiply(sums, SLOPE, out=space.take("sloped", sums.shape))
    np.maximum(sums, sloped, out=sums)
    sums += offsets
    _whole(sums)


def _whole(sums: Floats) -> None:
    """Round and cut sums to what an activation can be, in place."""
    np.floor(sums, out=sums)
    np.clip(sums, -LARGEST_ACTIVATION, LARGEST_ACTIVATION, out=sums)


def _by_filter(values: Floats) -> Floats:
    """One value for each filter, to be added to `(..., filters, rows, columns, num_images)`."""
    return values[:, np.newaxis, np.newaxis, np.newaxis]


def _together(volume: Floats, space: "Space") -> Floats:
    """What is by the parity of row and column, without: `(filters, rows, columns, num_images)`."""
    row_steps, column_steps, filters, rows, columns, count = volume.shape
    shape = filters, rows, row_steps, columns, column_steps, count
    whole = space.take(f"volume {rows}", shape)
    whole[...] = volume.transpose(2, 3, 0, 4, 1, 5)
    return whole.reshape(filters, rows * row_steps, columns * column_steps, count)


def image_by_image(volume: NDArray[Any]) -> NDArray[Any]:
    """What is by the parity of row and column as `(num_images, rows, columns, filters)`."""
    row_steps, column_steps, filters, rows, columns, count = volume.shape
    whole = volume.transpose(5, 3, 0, 4, 1, 2)
    return whole.reshape(count, rows * row_steps, columns * column_steps, filters)


def _rounded(weights: NDArray[np.float64]) -> Floats:
    """Weights of codes, and in the last column a bias, as whole multiples of a power of two."""
    for shift in range(LARGEST_SHIFT, -LARGEST_SHIFT, -1):
        whole = np.floor(weights * 2.0**shift + 0.5)
        largest = LARGEST_CODE * np.abs(whole[:, :-1]).sum(axis=1) + np.abs(whole[:, -1])
        if largest.max() < EXACT:
            break
    found: Floats = (whole * 2.0**-shift).astype(np.float32)
    return found


class Space:
    """Memory for arrays that are made again and again, for one thread."""

    def __init__(self, kind: type = np.float32) -> None:
        self._kind = kind
        self._arrays: dict[str, NDArray[Any]] = {}

    def take(self, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
        """An array of this shape with anything in it, which is the one last taken by this name."""
        size = math.prod(shape)
        if name not in self._arrays or self._arrays[name].size < size:
            self._arrays[name] = np.empty(size, self._kind)
        return self._arrays[name][:size].reshape(shape)


def by_tap(kernel: NDArray[Any]) -> NDArray[Any]:
    """What `products` multiplies with, `(9 * filters, channels)`, of a kernel as Keras has it."""
    taps = [*_OWN, *(tap for tap, _ in _MOVED)]
    return np.ascontiguousarray(np.concatenate([kernel[tap].T for tap in taps]))


def products(volume: NDArray[Any], weights: NDArray[Any], space: Space) -> NDArray[Any]:
    """The transposed convolution of stride 2, without a bias, by the parity of row and column.

    Of the rows to come, an even one has the kernel's first row times its own row of the volume,
    and its last row times the one before; an odd one has the middle row times its own. So do
    columns.

    Args:
        volume: float32 or float64 `(channels, rows, columns, num_images)`.
        weights: As `by_tap` gives them, of the same type.
        space: Where to compute, of the same type.

    Returns:
        An array of that type, `(2, 2, filters, rows, columns, num_images)`.
    """
    channels, rows, columns, count = volume.shape
    shares = space.take(f"shares {rows}", (len(weights), rows * columns * count))
    np.matmul(weights, volume.reshape(channels, -1), out=shares)
    shares = shares.reshape(KERNEL_SIDE**2, -1, rows, columns, count)
    sums = shares[: len(_OWN)].reshape(2, 2, *shares.shape[1:])
    for share, (tap, parity) in zip(shares[len(_OWN) :], _MOVED, strict=True):
        down, right = (step // 2 for step in tap)
        sums[parity][:, down:, right:] += share[:, : rows - down, : columns - right]
    return sums


def by_move(kernel: Floats) -> Floats:
    """What `_same_size` multiplies with, `(16 * channels, 4 * filters)`, of a kernel as above."""
    size, _, filters, channels = kernel.shape
    weights = np.zeros((2, 2, 2, 2, channels, 2, 2, filters), np.float32)
    for row, column, i, j in itertools.product(range(2), range(2), range(size), range(size)):
        # Which row and column of the volume a tap leads from.
        (moved, from_row), (aside, from_column) = divmod(row + 1 - i, 2), divmod(column + 1 - j, 2)
        weights[abs(moved), abs(aside), row, column, :, from_row, from_column] = kernel[i, j].T
    return weights.reshape(16 * channels, 4 * filters)


def _same_size(volume: Floats, weights: Floats, space: Space) -> Floats:
    """The transposed convolution of stride 1, without a bias, by the parity of row and column.

    An even row has shares of places in its own row of them and in the one above; an odd one, in its
    own and in the one below. So do columns.

    Args:
        volume: float32 `(2, 2, filters, rows, columns, num_images)`.
        weights: As `by_move` gives them.
        space: Where to compute.

    Returns:
        float32 `(2, 2, channels, rows, columns, num_images)`.
    """
    _, _, filters, rows, columns, count = volume.shape
    shares = space.take("shares of pixels", (len(weights), rows * columns * count))
    np.matmul(weights, volume.reshape(4 * filters, -1), out=shares)
    shares = shares.reshape(2, 2, 2, 2, -1, rows, columns, count)
    sums: Floats = shares[0, 0]
    for moved, aside, row, column in itertools.product(range(2), repeat=4):
        if moved or aside:
            to_rows, from_rows = _moved(moved * (2 * row - 1), rows)
            to_columns, from_columns = _moved(aside * (2 * column - 1), columns)
            sums[row, column][:, to_rows, to_columns] += shares[moved, aside, row, column][
                :, from_rows, from_columns
            ]
    return sums


def _moved(step: int, size: int) -> tuple[slice, slice]:
    """Which of so many places have one so many steps on, and which those are."""
    first, last = max(0, -step), size - max(0, step)
    return slice(first, last), slice(first + step, last + step)


def table_shapes(
    shape: tuple[int, int, int], filters: tuple[int, ...], num_codes: int
) -> dict[str, tuple[type, tuple[int, ...]]]:
    """Type and shape of every table.

    Args:
        shape: Height, width and channels of an image.
        filters: Of each stage, from the image inwards.
        num_codes: Integers of a code.
    """
    volume = math.prod(first_volume(shape, filters))
    kinds: dict[str, tuple[type, tuple[int, ...]]] = {
        "shifts": (np.uint8, (len(filters) + 2,)),
        "volume/weights": (np.int16, (num_codes, volume)),
        "volume/bias": (np.int32, (volume,)),
    }
    before = filters[-1]
    for stage, count in enumerate(reversed(filters)):
        kinds[f"{stage}/weights"] = (np.int16, (KERNEL_SIDE, KERNEL_SIDE, before, count))
        kinds[f"{stage}/bias"] = (np.int32, (count,))
        kinds[f"{stage}/offsets"] = (np.int32, (count,))
        before = count
    kinds["pixels/weights"] = (np.int16, (KERNEL_SIDE, KERNEL_SIDE, before, shape[2]))
    kinds["pixels/bias"] = (np.int32, (shape[2],))
    kinds["logits"] = (np.uint8, (NUM_LOGITS,))
    return kinds


def _check(shape: tuple[int, int, int], tables: Tables) -> None:
    stages, filters = num_stages(tables), _filters(tables)
    weights = tables.get("volume/weights")
    if not 1 <= stages <= MOST_STAGES or len(filters) != stages or weights is None:
        raise ParameterError(
            f"An integer decoder must have a volume and 1 to {MOST_STAGES} stages; received "
            f"{sorted(tables)!r:.200}."
        )
    num_codes = len(weights) if weights.ndim else 0
    # It has the bounds that a network of these numbers has, on its volumes too.
    Architecture(*shape, filters, num_codes)
    shapes = table_shapes(shape, filters, num_codes)
    declared = {name: Table(kind, size) for name, (kind, size) in shapes.items()}
    check_tables(tables, declared, "The tables of an integer decoder")
    check_sizes(shape, filters)
    if tables["shifts"].max() > LARGEST_SHIFT:
        raise ParameterError(
            f"shifts must be at most {LARGEST_SHIFT}; received {tables['shifts'].tolist()}."
        )
    largest = max(largest_sums(tables))
    if largest >= EXACT:
        raise ParameterError(
            f"An integer decoder's sums must stay below {EXACT:,}; received tables that let one "
            f"reach {largest:,}."
        )


def largest_sums(tables: Tables) -> list[int]:
    """What the sums of each layer, and its offsets, can reach at most, of their smallest part."""

    def largest(layer: str, largest_input: int) -> int:
        weights = np.abs(tables[f"{layer}/weights"].astype(np.int32))
        sums = weights.sum(axis=tuple(range(weights.ndim - 1)), dtype=np.int64)
        bias = np.abs(tables[f"{layer}/bias"].astype(np.int64))
        return int(np.max(largest_input * sums + bias))

    sums = [largest("volume", LARGEST_CODE)]
    for stage in range(num_stages(tables)):
        offsets = np.abs(tables[f"{stage}/offsets"].astype(np.int64))
        sums += [largest(f"{stage}", LARGEST_ACTIVATION), int(offsets.max())]
    return [*sums, largest("pixels", LARGEST_ACTIVATION)]
