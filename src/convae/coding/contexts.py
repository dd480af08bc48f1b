"""The distribution of a byte given those decoded before it, by a small network of integers.

Every number that the network computes is an integer, kept in float32: products and sums of integers
below 2^24 are exact there, whatever their order, so the distributions are the same on every
machine, with any library for matrix products and any number of threads. What remains are single
multiplications and divisions, which IEEE 754 defines to the bit.

A byte is coded in two halves of 16 values each, the high one first. The network of a plane has as
inputs: the window of the pixel in all planes, with the bytes of the pixel itself that are decoded
already; of a few of these also what their exact value says (a table look-up each); and where in the
image the pixel lies, in 16 rows and 16 columns. Two hidden layers, with integers from 0 to 255 as
activations, lead to the high half, and a third, which knows that one, to the low half.

A network may be one of distances: then all that it sees, and what is coded, is told by the distance
from a prediction (`convae.coding.prediction`), modulo 256.

Guarantees:

1. The bounds follow from the tables, the bytes and the places alone, on every machine.
2. The bounds of a byte rise from 0 to 65,536, strictly at every value that is possible.
3. Tables that could let a sum reach 2^24 are refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convae.coding.prediction import CODED_CENTER, predict, relative
from convae.coding.rans import TOTAL
from convae.coding.waves import NEAREST, OFFSETS
from convae.errors import ParameterError
from convae.storage.tables import Table, check_tables

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

HALF = 16
NUM_PLACES = 16
MOST_PLANES = 4
LARGEST_HIDDEN = 256
LARGEST_ACTIVATION = 255
# Fixed-point places: of activations and look-ups, of weights, of the first layer's sums.
ACTIVATION_BITS, WEIGHT_BITS, FIRST_BITS = 5, 6, 16
SUM_BITS = ACTIVATION_BITS + WEIGHT_BITS
# A logit's distance from the largest, in 1/64, is where its weight stands in the table.
LOGIT_STEP_BITS = 6
NUM_EXPONENTIALS = 1024
# 16 of the largest weights make a sum that float32 still holds exactly.
EXPONENTIAL_BITS = 20
_EXACT = 1 << 24
_HIDDEN = "hidden units"
# Own window's nearest pixels that are looked up where there are other planes to look at too.
_NEAREST_BESIDE_OTHERS = 4


def num_inputs(num_planes: int) -> int:
    """Bytes that a network sees: the windows, and the pixel itself, of all planes."""
    return num_planes * (len(OFFSETS) + 1)


def looked_up(plane: int, num_planes: int) -> list[int]:
    """Which inputs the network of a plane looks up: its own nearest, and one of each other plane.

    Of a plane that is decoded already, that one is the pixel itself, else its left neighbor.
    """
    size = len(OFFSETS) + 1
    own = len(NEAREST) if num_planes == 1 else _NEAREST_BESIDE_OTHERS
    others = [
        other * size + (len(OFFSETS) if other < plane else 0)
        for other in range(num_planes)
        if other != plane
    ]
    return [plane * size + index for index in range(own)] + others


def table_shapes(plane: int, num_planes: int, hidden: int | str) -> dict[str, tuple[type, Any]]:
    """Name, type and shape of the tables of one plane's network."""
    slots = len(looked_up(plane, num_planes))
    return {
        "window": (np.int16, (num_inputs(num_planes), hidden)),
        "values": (np.int8, (slots, 256, hidden)),
        "rows": (np.int8, (NUM_PLACES, hidden)),
        "columns": (np.int8, (NUM_PLACES, hidden)),
        "hidden": (np.int8, (hidden, hidden)),
        "hidden_bias": (np.int32, (hidden,)),
        "high": (np.int8, (hidden, HALF)),
        "high_bias": (np.int32, (HALF,)),
        "low_hidden": (np.int8, (hidden, hidden)),
        "low_hidden_bias": (np.int32, (HALF, hidden)),
        "low": (np.int8, (hidden, HALF)),
        "low_bias": (np.int32, (HALF, HALF)),
    }


def exponentials() -> NDArray[np.int32]:
    """The table of weights that a logit's distance from the largest leads to; kept, not recomputed.

    Returns:
        int32 `(NUM_EXPONENTIALS,)`, falling from 2^20 to 1.
    """
    steps = np.arange(NUM_EXPONENTIALS) / (1 << LOGIT_STEP_BITS)
    weights = np.rint((1 << EXPONENTIAL_BITS) * np.exp(-steps))
    table: NDArray[np.int32] = np.maximum(1, weights).astype(np.int32)
    return table


def places_of(positions: NDArray[np.int64], size: int | NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows or columns of an image of `size` of them, in 16 parts of it."""
    return positions * NUM_PLACES // size


@dataclass(frozen=True, eq=False)
class ContextNetwork:
    """The network of one plane.

    Args:
        plane: Which plane it predicts.
        num_planes: How many there are.
        tables: As `table_shapes` says.
        exponentials: As the function of that name gives them.
        by_distance: Whether it is one of distances.
        bits: Of a value: 8, or 16, of which the high byte is one plane and the low one the next.

    Raises:
        ParameterError: A table is missing, of another kind, or lets a sum reach 2^24.
    """

    plane: int
    num_planes: int
    tables: Mapping[str, NDArray[Any]]
    exponentials: NDArray[np.int32]
    by_distance: bool = False
    bits: int = 8

    def __post_init__(self) -> None:
        _check(self)

    @property
    def num_hidden(self) -> int:
        """Hidden units of each layer."""
        return int(self.tables["hidden"].shape[1])

    @cached_property
    def _wide(self) -> dict[str, Floats]:
        """The tables as the numbers that are computed with.

        Sums are in units of what they lead to, activations or steps of the table of weights: all
        that is added is an integer over a power of two.
        """
        places = {"window": FIRST_BITS - ACTIVATION_BITS, "values": 0, "rows": 0, "columns": 0}
        places |= dict.fromkeys(
            ("high", "high_bias", "low", "low_bias"), SUM_BITS - LOGIT_STEP_BITS
        )
        wide = {
            name: np.ascontiguousarray(table, np.float32)
            * np.float32(2.0 ** -places.get(name, WEIGHT_BITS))
            for name, table in self.tables.items()
        }
        where = wide.pop("rows")[:, np.newaxis] + wide.pop("columns")
        return {**wide, "places": where.reshape(NUM_PLACES**2, -1)}

    @cached_property
    def _weights(self) -> Floats:
        return self.exponentials.astype(np.float32)

    def origin(self, inputs: Bytes) -> NDArray[np.int64]:
        """What is taken from a byte, modulo 256, before it is coded.

        Args:
            inputs: As in `hidden`.

        Returns:
            int64 `(num_bytes,)`.
        """
        if not self.by_distance:
            return np.zeros(inputs.shape[-1], np.int64)
        return predict(inputs, self.plane, self.bits).astype(np.int64) - CODED_CENTER

    def hidden(self, inputs: Bytes, places: NDArray[np.int64]) -> Floats:
        """The activations that both halves of a byte are predicted from.

        Args:
            inputs: uint8 `(num_planes, window and pixel, num_bytes)`; those that are not decoded
                yet are 0.
            places: int64 `(num_bytes,)`: where in the image, 16 times the row and the column, both
                from 0 to 15.

        Returns:
            float32 `(num_bytes, num_hidden)`, integers from 0 to 255.
        """
        wide = self._wide
        if self.by_distance:
            inputs = relative(inputs, self.plane, self.bits)
        inputs = inputs.reshape(-1, inputs.shape[-1])
        sums = inputs.astype(np.float32).T @ wide["window"]
        for table, index in zip(
            wide["values"], looked_up(self.plane, self.num_planes), strict=True
        ):
            sums += table.take(inputs[index], axis=0)
        sums += wide["places"].take(places, axis=0)
        sums = _activate(sums) @ wide["hidden"]
        sums += wide["hidden_bias"]
        return _activate(sums)

    def high_bounds(
        self, hidden: Floats, possible: NDArray[np.bool_] | None = None
    ) -> NDArray[np.int32]:
        """Bounds of the high halves.

        Args:
            hidden: As `hidden` gives it.
            possible: Which values may come, bool `(16, num_bytes)`, one at least; None is all.

        Returns:
            int32 `(17, num_bytes)`.
        """
        wide = self._wide
        logits = np.ascontiguousarray((hidden @ wide["high"]).T)
        logits += wide["high_bias"][:, np.newaxis]
        return self._bounds(logits, possible)

    def low_bounds(
        self,
        hidden: Floats,
        high: NDArray[np.int64],
        possible: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.int32]:
        """Bounds of the low halves once the high ones are known, int64 `(num_bytes,)`; as above."""
        wide = self._wide
        sums = hidden @ wide["low_hidden"]
        sums += wide["low_hidden_bias"].take(high, axis=0)
        logits = np.ascontiguousarray((_activate(sums) @ wide["low"]).T)
        logits += wide["low_bias"].T.take(high, axis=1)
        return self._bounds(logits, possible)

    def _bounds(self, logits: Floats, possible: NDArray[np.bool_] | None) -> NDArray[np.int32]:
        """Bounds from logits in steps of the table of weights, of shape `(16, num_bytes)`."""
        distances = np.subtract(logits.max(axis=0), logits, out=logits)
        np.clip(distances, 0, NUM_EXPONENTIALS - 1, out=distances)
        weights = self._weights.take(distances.astype(np.intp))
        least = np.arange(1, HALF + 1, dtype=np.int32)[:, np.newaxis]
        if possible is not None:
            weights *= possible
            least = _running_sums(possible.astype(np.int32))
        # Sums are exact; the division and each product are rounded alike by every machine, and what
        # is rounded still rises.
        sums = _running_sums(weights)
        # Behind the last possible value, whatever becomes of the product, all is told.
        whole = sums[:-1] == sums[-1] if possible is not None else None
        sums *= (TOTAL - least[-1]).astype(np.float32) / sums[-1]
        bounds = np.zeros((HALF + 1, logits.shape[1]), np.int32)
        bounds[1:] = sums
        bounds[1:] += least
        bounds[-1] = TOTAL
        if whole is not None:
            bounds[1:-1][whole] = TOTAL
        return bounds


def _activate(sums: Floats) -> Floats:
    """Sums as activations, whole and from 0 to 255; in place."""
    np.floor(sums, out=sums)
    return np.clip(sums, 0, LARGEST_ACTIVATION, out=sums)


def _running_sums(values: NDArray[Any]) -> NDArray[Any]:
    """Each row with all those above it added, in place; many times as fast as `cumsum`."""
    for above, row in pairwise(values):
        row += above
    return values


def _check(network: ContextNetwork) -> None:
    shapes = table_shapes(network.plane, network.num_planes, _HIDDEN)
    declared = {name: Table(kind, shape) for name, (kind, shape) in shapes.items()}
    hidden = check_tables(network.tables, declared, "The tables of a context network")[_HIDDEN]
    if hidden > LARGEST_HIDDEN:
        raise ParameterError(
            f"A context network must have 1 to {LARGEST_HIDDEN} hidden units; received {hidden}."
        )
    weights = network.exponentials
    table = Table(np.int32, (NUM_EXPONENTIALS,))
    check_tables({"exponentials": weights}, {"exponentials": table}, "The weights of logits")
    if weights[0] != 1 << EXPONENTIAL_BITS or weights.min() < 1 or weights.max() > weights[0]:
        raise ParameterError(
            f"exponentials must begin with {1 << EXPONENTIAL_BITS:,}, the largest, and none be "
            f"below 1; received {weights[0]:,} and {weights.min():,} to {weights.max():,}."
        )
    largest = largest_sum(network.tables)
    if largest >= _EXACT:
        raise ParameterError(
            f"A context network's sums must stay below {_EXACT:,}; received tables that let one "
            f"reach {largest:,}."
        )


def largest_sum(tables: Mapping[str, NDArray[Any]]) -> int:
    """What a sum of the network, or a part of it, can reach at most."""
    wide = {name: np.abs(table.astype(np.int64)) for name, table in tables.items()}
    lookups = wide["values"].max(axis=1).sum(axis=0) + wide["rows"].max(axis=0)
    lookups += wide["columns"].max(axis=0)
    lookups <<= FIRST_BITS - ACTIVATION_BITS
    sums = [
        LARGEST_ACTIVATION * wide["window"].sum(axis=0) + lookups,
        LARGEST_ACTIVATION * wide["hidden"].sum(axis=0) + wide["hidden_bias"],
        LARGEST_ACTIVATION * wide["high"].sum(axis=0) + wide["high_bias"],
        LARGEST_ACTIVATION * wide["low_hidden"].sum(axis=0) + wide["low_hidden_bias"].max(axis=0),
        LARGEST_ACTIVATION * wide["low"].sum(axis=0) + wide["low_bias"].max(axis=0),
    ]
    # The distance between two logits is the sum of both.
    return int(max(np.max(each) for each in sums) * 2)
