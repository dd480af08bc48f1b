"""Check the tables of an untrusted file against one declaration: types, shapes and ranges."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from reprlib import repr as quote  # bounded: a hostile name may have a million characters
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convae.errors import ParameterError


@dataclass(frozen=True, slots=True)
class Table:
    """What a table must be.

    Args:
        kind: The type of its numbers.
        shape: Its sides. A name stands for any number from 1, the same wherever it stands.
        low: The smallest number that may be in it.
        high: The largest one.
    """

    kind: type
    shape: tuple[int | str, ...]
    low: float = -math.inf
    high: float = math.inf


def check_tables(
    tables: Mapping[str, NDArray[Any]],
    declared: Mapping[str, Table],
    what: str,
    sizes: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """Refuse tables that are not exactly those declared, before any of them is used.

    Args:
        tables: Arrays by name.
        declared: What each of them must be; every one is needed, and no other may be there.
        what: How a message calls the tables together, as its subject.
        sizes: Sides that are known by their names; the others follow from the first table that
            has them.

    Returns:
        All sides that have names.

    Raises:
        ParameterError: A table is missing, unknown, of another type or shape, has a side of 0
            where a name stands, or holds a number outside its range, NaN included.
    """
    missing = [name for name in declared if name not in tables]
    unknown = [name for name in tables if name not in declared]
    if missing or unknown:
        raise ParameterError(
            f"{what} must be {len(declared)} tables; received {len(tables)}, missing "
            f"{quote(missing)}, unknown {quote(unknown)}."
        )
    known = dict(sizes or {})
    for name, wanted in declared.items():
        _check_shape(name, tables[name], wanted, known)
        _check_range(name, tables[name], wanted)
    return known


def _check_shape(name: str, table: object, wanted: Table, known: dict[str, int]) -> None:
    kind, sides = getattr(table, "dtype", None), getattr(table, "shape", None)
    if isinstance(table, np.ndarray) and table.ndim == len(wanted.shape):
        for side, number in zip(wanted.shape, table.shape, strict=True):
            if isinstance(side, str) and number > 0:
                known.setdefault(side, number)
    shape = tuple(known.get(side, side) if isinstance(side, str) else side for side in wanted.shape)
    if not isinstance(table, np.ndarray) or kind != wanted.kind or sides != shape:
        type_name = np.dtype(wanted.kind).name
        raise ParameterError(
            f"{name} must be {'an' if type_name[0] == 'i' else 'a'} {type_name} array of shape "
            f"({', '.join(map(str, shape))}{',' * (len(shape) == 1)}); received "
            f"{kind or type(table).__name__} of shape {sides}."
        )


def _check_range(name: str, table: NDArray[Any], wanted: Table) -> None:
    if not table.size:
        return
    least, largest = float(table.min()), float(table.max())
    if not (math.isfinite(least) and math.isfinite(largest)):
        num_bad = np.count_nonzero(~np.isfinite(table))
        raise ParameterError(f"{name} must hold finite numbers; received {num_bad} that are not.")
    if least < wanted.low or largest > wanted.high:
        raise ParameterError(
            f"{name} must hold numbers from {wanted.low:g} to {wanted.high:g}; received "
            f"{least:g} to {largest:g}."
        )
