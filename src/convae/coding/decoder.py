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

Guarantees:

1. Pixels follow from the tables and the codes alone, on every machine.
2. Tables that could let a sum reach 2^24 are refused.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convae.coding.threads import Run, do_in_parts
from convae.errors import ParameterError

Floats = NDArray[np.float32]
Codes = NDArray[np.int64]
Tables = Mapping[str, NDArray[Any]]

LARGEST_CODE = 63
LARGEST_ACTIVATION = 1023
SLOPE = np.float32(0.2)
# Places behind the point of the offset of an activation.
OFFSET_BITS = 10
# Logits of pixels, in 1/32, from -16 to 16.
NUM_LOGITS, LOGIT_BITS = 1024, 5
KERNEL = 3
EXACT = 1 << 24
LARGEST_SHIFT = 40
MOST_STAGES = 12
# As many images at a time as keep volumes near the processor.
BATCH_NUMBERS = 1 << 19
# So many batches at a time are one thread's, and use the same memory.
BATCHES_A_THREAD = 8
# Whether the row and the column of a place to come are odd.
_PARITIES = ((0, 0), (0, 1), (1, 0), (1, 1))


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

    @cached_property
    def _ends(self) -> dict[str, Floats]:
        """Weights and biases of the first and the last layer, over their powers of two."""
        shifts = {"volume": self.tables["shifts"][0], "pixels": self.tables["shifts"][-1]}
        return {
            f"{name}/{kind}": self.tables[f"{name}/{kind}"].astype(np.float32)
            * np.float32(2.0 ** -float(shift))
            for name, shift in shifts.items()
            for kind in ("weights", "bias")
        }

    @cached_property
    def _stages(self) -> list[tuple[list[Floats], Floats]]:
        """Of each stage the weights of `doubled`, and the offsets for a row of what it gives."""
        _, columns, _ = first_volume(self.shape, self.filters)
        stages = []
        for stage, shift in enumerate(self.tables["shifts"][1:-1]):
            scale = np.float32(2.0 ** -float(shift))
            kernel = self.tables[f"{stage}/weights"] * scale
            bias = self.tables[f"{stage}/bias"].astype(np.float32) * scale
            offsets = self.tables[f"{stage}/offsets"] / (1 << OFFSET_BITS)
            columns *= 2
            stages.append((parities(kernel, bias), np.tile(offsets.astype(np.float32), columns)))
        return stages

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
        height, width, _ = self.shape
        widest = max(self.shape[2], *self.filters)
        at_a_time = max(1, BATCH_NUMBERS // (height * width * widest))

        def decode_some(some: slice) -> None:
            space = Space()
            for first in range(some.start, some.stop, at_a_time):
                part = slice(first, min(first + at_a_time, some.stop))
                images[part] = self._decode(codes[part], space)

        do_in_parts(run, decode_some, len(codes), BATCHES_A_THREAD * at_a_time)
        return images

    def _decode(self, codes: Codes, space: "Space") -> NDArray[np.uint8]:
        first = self._ends["volume/weights"]
        sums = space.take("first sums", (len(codes), first.shape[1]))
        np.matmul(codes.astype(np.float32), first, out=sums)
        sums += self._ends["volume/bias"]
        volume = _whole(sums).reshape(-1, *first_volume(self.shape, self.filters))
        for weights, offsets in self._stages:
            sums = doubled(volume, weights, space)
            rows = sums.reshape(-1, len(offsets))
            sloped = np.multiply(rows, SLOPE, out=space.take("sloped", rows.shape))
            np.maximum(rows, sloped, out=rows)
            rows += offsets
            volume = _whole(sums)
        height, width, channels = self.shape
        sums = _same_size(volume, self._ends["pixels/weights"], space)
        top, left = (sums.shape[2] - height) // 2, (sums.shape[3] - width) // 2
        images = np.empty((len(codes), *self.shape), np.uint8)
        for channel in range(channels):
            logits = sums[channel, :, top : top + height, left : left + width]
            logits += self._ends["pixels/bias"][channel]
            logits += NUM_LOGITS // 2
            # Cut off rather than rounded down: the same where nothing is below 0.
            places = np.clip(logits, 0, NUM_LOGITS - 1).astype(np.intp)
            images[..., channel] = self.tables["logits"].take(places)
        return images


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


def _whole(sums: Floats) -> Floats:
    """Sums as activations, in place."""
    np.floor(sums, out=sums)
    return np.clip(sums, -LARGEST_ACTIVATION, LARGEST_ACTIVATION, out=sums)


class Space:
    """Memory for arrays that are made again and again, for one thread."""

    def __init__(self) -> None:
        self._arrays: dict[str, Floats] = {}

    def take(self, name: str, shape: tuple[int, ...]) -> Floats:
        """An array of this shape with anything in it, which is the one last taken by this name."""
        size = math.prod(shape)
        if name not in self._arrays or self._arrays[name].size < size:
            self._arrays[name] = np.empty(size, np.float32)
        return self._arrays[name][:size].reshape(shape)


def parities(kernel: Floats, bias: Floats) -> list[Floats]:
    """What `doubled` multiplies with for each kind of place, in the order of `_PARITIES`."""
    weights = []
    for row, column in _PARITIES:
        # Above, itself and the bias, to the left, and above to the left.
        parts = [kernel[2, 1 if column else 0]] if not row else []
        parts += [kernel[1 if row else 0, 1 if column else 0], bias[np.newaxis]]
        parts += [kernel[1 if row else 0, 2]] if not column else []
        parts += [kernel[2, 2]] if not row and not column else []
        weights.append(np.concatenate(parts))
    return weights


def doubled(volume: Floats, weights: list[Floats], space: Space) -> Floats:
    """The transposed convolution of stride 2, and its bias: twice as high and wide.

    Of the rows to come, an even one has the kernel's first row times its own row of the volume,
    and its last row times the one before; an odd one has the middle row times its own. So do
    columns.

    Args:
        volume: float32 `(num_images, rows, columns, channels)`.
        weights: As `parities` gives them.
        space: Where to compute.

    Returns:
        float32 `(num_images, 2 * rows, 2 * columns, filters)`.
    """
    count, rows, columns, channels = volume.shape
    here, left, corner = channels, 2 * channels + 1, 3 * channels + 1
    near = space.take("near", (count, rows, columns, corner + channels))
    near[:, 1:, :, :here] = volume[:, :-1]
    near[:, 0, :, :here] = 0
    near[..., here : left - 1] = volume
    near[..., left - 1] = 1
    near[:, :, 1:, left:corner] = volume[:, :, :-1]
    near[:, 1:, 1:, corner:] = volume[:, :-1, :-1]
    near[:, :, 0, left:] = 0
    near[:, 0, :, corner:] = 0
    flat = near.reshape(-1, near.shape[3])
    filters = weights[0].shape[1]
    sums = space.take(f"sums {rows}", (count, rows, 2, columns, 2, filters))
    some = space.take("some sums", (count, rows, columns, filters))
    for (row, column), own in zip(_PARITIES, weights, strict=True):
        first = here if row else 0
        np.matmul(flat[:, first : first + len(own)], own, out=some.reshape(-1, filters))
        sums[:, :, row, :, column] = some
    return sums.reshape(count, 2 * rows, 2 * columns, filters)


def _same_size(volume: Floats, kernel: Floats, space: Space) -> Floats:
    """The transposed convolution of stride 1, `(channels, num_images, height, width)`."""
    count, rows, columns, channels = volume.shape
    weights = kernel.transpose(2, 0, 1, 3).reshape(channels, -1)
    size = count * rows * columns, weights.shape[1]
    found = space.take("shares by place", size)
    np.matmul(volume.reshape(-1, channels), weights, out=found)
    shares = space.take("shares", size[::-1])
    shares[...] = found.T
    shares = shares.reshape(KERNEL, KERNEL, -1, count, rows, columns)
    sums = space.take("pixels", (kernel.shape[3], count, rows + 2, columns + 2))
    sums[...] = 0
    for row in range(KERNEL):
        for column in range(KERNEL):
            sums[..., row : row + rows, column : column + columns] += shares[row, column]
    return sums[..., 1:-1, 1:-1]


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
        kinds[f"{stage}/weights"] = (np.int16, (KERNEL, KERNEL, before, count))
        kinds[f"{stage}/bias"] = (np.int32, (count,))
        kinds[f"{stage}/offsets"] = (np.int32, (count,))
        before = count
    kinds["pixels/weights"] = (np.int16, (KERNEL, KERNEL, before, shape[2]))
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
    expected = table_shapes(shape, filters, len(weights))
    found = {name: (table.dtype, table.shape) for name, table in tables.items()}
    if found != {name: (np.dtype(kind), size) for name, (kind, size) in expected.items()}:
        raise ParameterError(
            f"The tables of an integer decoder must be {sorted(expected)} in their types and "
            f"shapes; received {sorted(found)!r:.300} or others."
        )
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
    wide = {name: np.abs(table.astype(np.int64)) for name, table in tables.items()}
    sums = [LARGEST_CODE * wide["volume/weights"].sum(axis=0) + wide["volume/bias"]]
    for stage in range(num_stages(tables)):
        sums.append(
            LARGEST_ACTIVATION * wide[f"{stage}/weights"].sum(axis=(0, 1, 2))
            + wide[f"{stage}/bias"]
        )
        sums.append(wide[f"{stage}/offsets"])
    sums.append(
        LARGEST_ACTIVATION * wide["pixels/weights"].sum(axis=(0, 1, 2)) + wide["pixels/bias"]
    )
    return [int(np.max(each)) for each in sums]
