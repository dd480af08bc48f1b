"""The decoder of an autoencoder in integers: the same pixels from the same codes on every machine.

A code is an integer for each latent. All that follows from it is an integer too, or one over a
power of two, kept in float32 and below 2^24 of its smallest part: then products and sums are exact
in any order, and so with any library and any number of threads.

The layers are those of the network: a dense one, a transposed convolution of stride 2 for each
stage with a leaky rectifier and the scale and offset of its batch normalization, and a transposed
convolution of stride 1. Weights and biases are scaled so that each sum is in units of the next
layer's activations, times a power of two. The rectifier's slope is 51/256.

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

from convae.errors import ParameterError

Floats = NDArray[np.float32]
Codes = NDArray[np.int64]
Tables = Mapping[str, NDArray[Any]]

LARGEST_CODE = 63
LARGEST_ACTIVATION = 1023
SLOPE = 51 / 256
# Places behind the point of an activation before it is rectified, and of the offset after that.
RECTIFIED_BITS, OFFSET_BITS = 2, 10
# Five times the largest activation, in those places: so far the slope brings a negative sum back.
LARGEST_RECTIFIED = (1 << 15) - 1
LARGEST_OFFSET = (1 << 23) - 1
# Logits of pixels, in 1/32, from -16 to 16.
NUM_LOGITS, LOGIT_BITS = 1024, 5
KERNEL = 3
EXACT = 1 << 24
LARGEST_SHIFT = 40
MOST_STAGES = 12
# As many images at a time as keep volumes near the processor.
BATCH_NUMBERS = 1 << 18


@dataclass(frozen=True, eq=False)
class IntegerDecoder:
    """A decoder of images of one size.

    Args:
        shape: Height, width and channels of an image.
        tables: `volume/weights` and `volume/bias`; for each stage *i* from 0 `i/weights` (3, 3, in,
            out), `i/bias`, `i/signs` and `i/offsets`; `pixels/weights`, `pixels/bias`; `logits`,
            the pixel of each logit; `shifts`, the power of two of each layer's sums.

    Raises:
        ParameterError: A table is missing, of another kind, or lets a sum reach 2^24.
    """

    shape: tuple[int, int, int]
    tables: Tables

    def __post_init__(self) -> None:
        _check(self.shape, self.tables)

    @cached_property
    def _wide(self) -> dict[str, Floats]:
        """The weights as the numbers that are computed with."""
        return {
            name: np.ascontiguousarray(table, np.float32)
            for name, table in self.tables.items()
            if name not in ("logits", "shifts")
        }

    @property
    def filters(self) -> tuple[int, ...]:
        """Filters of each stage, from the image inwards."""
        return _filters(self.tables)

    @property
    def num_codes(self) -> int:
        """Integers of a code."""
        return int(self.tables["volume/weights"].shape[0])

    def decode(self, codes: Codes) -> NDArray[np.uint8]:
        """Images of codes.

        Args:
            codes: int64 `(num_images, num_codes)`, from -63 to 63.

        Returns:
            uint8 `(num_images, height, width, channels)`.
        """
        images = np.empty((len(codes), *self.shape), np.uint8)
        height, width, _ = self.shape
        widest = max(self.shape[2], *self.filters)
        at_a_time = max(1, BATCH_NUMBERS // (height * width * widest))
        for first in range(0, len(codes), at_a_time):
            part = slice(first, first + at_a_time)
            images[part] = self._decode(codes[part])
        return images

    def _decode(self, codes: Codes) -> NDArray[np.uint8]:
        wide = self._wide
        shifts = [int(shift) for shift in self.tables["shifts"]]
        sums = codes.astype(np.float32) @ wide["volume/weights"]
        sums += wide["volume/bias"]
        volume = _rounded(sums, shifts[0])
        volume = volume.reshape(-1, *first_volume(self.shape, self.filters))
        for stage in range(len(self.filters)):
            sums = doubled(volume, wide[f"{stage}/weights"])
            sums += wide[f"{stage}/bias"]
            sums *= np.float32(2.0 ** (RECTIFIED_BITS - shifts[1 + stage]))
            np.floor(sums, out=sums)
            np.clip(sums, -LARGEST_RECTIFIED, LARGEST_RECTIFIED, out=sums)
            np.maximum(sums, sums * np.float32(SLOPE), out=sums)
            sums *= wide[f"{stage}/signs"] * np.float32(2.0**-RECTIFIED_BITS)
            sums += wide[f"{stage}/offsets"] * np.float32(2.0**-OFFSET_BITS)
            np.floor(sums, out=sums)
            volume = np.clip(sums, -LARGEST_ACTIVATION, LARGEST_ACTIVATION, out=sums)
        sums = _same_size(volume, wide["pixels/weights"])
        height, width, _ = self.shape
        top, left = (sums.shape[1] - height) // 2, (sums.shape[2] - width) // 2
        sums = sums[:, top : top + height, left : left + width] + wide["pixels/bias"]
        sums *= np.float32(2.0 ** -shifts[-1])
        np.floor(sums, out=sums)
        sums += NUM_LOGITS // 2
        np.clip(sums, 0, NUM_LOGITS - 1, out=sums)
        logits: NDArray[np.uint8] = self.tables["logits"]
        return logits.take(sums.astype(np.int32))


def num_stages(tables: Tables) -> int:
    """How many stages a decoder has."""
    return sum(name.endswith("/signs") for name in tables)


def _filters(tables: Tables) -> tuple[int, ...]:
    names = [f"{stage}/signs" for stage in reversed(range(num_stages(tables)))]
    return tuple(tables[name].size for name in names if name in tables)


def first_volume(shape: tuple[int, int, int], filters: tuple[int, ...]) -> tuple[int, int, int]:
    """Rows, columns and channels of what the dense layer gives."""
    scale = 1 << len(filters)
    return -(-shape[0] // scale), -(-shape[1] // scale), filters[-1]


def _rounded(sums: Floats, shift: int) -> Floats:
    """Sums as activations, in place."""
    sums *= np.float32(2.0**-shift)
    np.floor(sums, out=sums)
    return np.clip(sums, -LARGEST_ACTIVATION, LARGEST_ACTIVATION, out=sums)


def doubled(volume: Floats, kernel: Floats) -> Floats:
    """The transposed convolution of stride 2: twice as high and wide.

    Of the rows to come, an even one has the kernel's first row times its own row of the volume,
    and its last row times the one before; an odd one has the middle row times its own. So do
    columns.
    """
    count, rows, columns, channels = volume.shape
    # Of a place: above, itself, to the left, and above to the left.
    near = np.zeros((count, rows, columns, 4, channels), np.float32)
    near[:, 1:, :, 0] = volume[:, :-1]
    near[:, :, :, 1] = volume
    near[:, :, 1:, 2] = volume[:, :, :-1]
    near[:, 1:, 1:, 3] = volume[:, :-1, :-1]
    flat = near.reshape(-1, 4 * channels)
    sums = np.empty((count, rows, 2, columns, 2, kernel.shape[3]), np.float32)
    for row, column, first, taps in (
        (0, 0, 0, ((2, 0), (0, 0), (0, 2), (2, 2))),
        (0, 1, 0, ((2, 1), (0, 1))),
        (1, 0, 1, ((1, 0), (1, 2))),
        (1, 1, 1, ((1, 1),)),
    ):
        part = flat[:, first * channels : (first + len(taps)) * channels]
        weights = np.concatenate([kernel[tap] for tap in taps])
        sums[:, :, row, :, column] = (part @ weights).reshape(count, rows, columns, -1)
    return sums.reshape(count, 2 * rows, 2 * columns, -1)


def _same_size(volume: Floats, kernel: Floats) -> Floats:
    """The transposed convolution of stride 1."""
    count, rows, columns, channels = volume.shape
    flat = kernel.transpose(2, 0, 1, 3).reshape(channels, -1)
    shares = (volume.reshape(-1, channels) @ flat).reshape(count, rows, columns, KERNEL, KERNEL, -1)
    sums = np.zeros((count, rows + 2, columns + 2, kernel.shape[3]), np.float32)
    for row in range(KERNEL):
        for column in range(KERNEL):
            sums[:, row : row + rows, column : column + columns] += shares[:, :, :, row, column]
    return sums[:, 1:-1, 1:-1]


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
        kinds[f"{stage}/signs"] = (np.int8, (count,))
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
    if not all(np.isin(tables[f"{stage}/signs"], (-1, 1)).all() for stage in range(stages)):
        raise ParameterError("signs must be 1 or -1.")
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
    """What the sums of each layer can reach at most, in units of their smallest part."""
    wide = {name: np.abs(table.astype(np.int64)) for name, table in tables.items()}
    sums = [LARGEST_CODE * wide["volume/weights"].sum(axis=0) + wide["volume/bias"]]
    for stage in range(num_stages(tables)):
        sums.append(
            LARGEST_ACTIVATION * wide[f"{stage}/weights"].sum(axis=(0, 1, 2))
            + wide[f"{stage}/bias"]
        )
        # The rectifier adds 8 places behind the point, and the offset has as many.
        rectified = LARGEST_RECTIFIED << (OFFSET_BITS - RECTIFIED_BITS)
        sums.append(rectified + wide[f"{stage}/offsets"])
    sums.append(
        LARGEST_ACTIVATION * wide["pixels/weights"].sum(axis=(0, 1, 2)) + wide["pixels/bias"]
    )
    return [int(np.max(each)) for each in sums]
