"""Tables as few bytes and back: so what decodes an archive travels in it; and their digest."""

import hashlib
import lzma
import math
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convae.errors import ParameterError

Tables = Mapping[str, NDArray[Any]]
Kinds = Mapping[str, tuple[type, tuple[int, ...]]]

LZMA: dict[str, Any] = {"format": lzma.FORMAT_RAW, "filters": [{"id": lzma.FILTER_LZMA2}]}
LARGEST_PACKED = 1 << 26
# What liblzma packs with at least, and unpacks with by default.
_SMALLEST_DICTIONARY, _LARGEST_DICTIONARY = 1 << 12, 1 << 23
_CHECKED_BYTES = 1 << 22


def small_lzma(num_bytes: int) -> dict[str, Any]:
    """As `LZMA`, to pack so many bytes in memory for these; what it packs is unpacked alike."""
    (packer,) = LZMA["filters"]
    size = min(max(num_bytes, _SMALLEST_DICTIONARY), _LARGEST_DICTIONARY)
    return {**LZMA, "filters": [{**packer, "dict_size": size}]}


def digest(numbers: Sequence[int], tables: Tables) -> bytes:
    """The SHA-256 of numbers, as Python prints a tuple of them, and of tables in their order."""
    found = hashlib.sha256(repr(tuple(numbers)).encode())
    for table in tables.values():
        found.update(little_endian(table))
    return found.digest()


def pack(numbers: Sequence[int], tables: Tables) -> bytes:
    """Numbers from which the kinds of all tables follow, and the tables in their order.

    Args:
        numbers: At most 255, each from 0 to 2^32 - 1.
        tables: Arrays by name.
    """
    head = struct.pack(f"<B{len(numbers)}I", len(numbers), *numbers)
    return head + lzma.compress(b"".join(map(little_endian, tables.values())), **LZMA)


def unpack(data: bytes, kinds_of: Callable[[list[int]], Kinds]) -> dict[str, NDArray[Any]]:
    """The inverse of `pack`, for untrusted bytes.

    Args:
        data: The bytes.
        kinds_of: From the numbers to type and shape of each table, in their order; it refuses
            numbers that make no sense.

    Returns:
        The tables, and the numbers as `head`.

    Raises:
        ParameterError: The bytes are damaged or hostile.
    """
    if not data or len(data) < 1 + 4 * data[0]:
        raise ParameterError(f"A packed model must be whole; received {len(data)} bytes.")
    numbers = list(struct.unpack_from(f"<{data[0]}I", data, 1))
    kinds = kinds_of(numbers)
    num_bytes = sum(np.dtype(kind).itemsize * math.prod(shape) for kind, shape in kinds.values())
    if num_bytes > LARGEST_PACKED:
        raise ParameterError(
            f"A packed model must take at most {LARGEST_PACKED:,} bytes; received one of "
            f"{num_bytes:,}. Keep the model in its own file, and leave it out of the archive."
        )
    body = unlzma(data[1 + 4 * len(numbers) :], num_bytes)
    tables: dict[str, NDArray[Any]] = {"head": np.array(numbers, np.int64)}
    place = 0
    for name, (kind, shape) in kinds.items():
        stored = np.frombuffer(body, np.dtype(kind).newbyteorder("<"), math.prod(shape), place)
        tables[name] = stored.reshape(shape).astype(kind)
        place += stored.nbytes
    return tables


def unlzma(data: bytes, num_bytes: int) -> bytes:
    """Exactly so many bytes; never more are made, whatever the data say.

    Raises:
        ParameterError: There are fewer, or the data are damaged.
    """
    try:
        found = lzma.LZMADecompressor(**LZMA).decompress(data, num_bytes)
    except lzma.LZMAError as error:
        raise ParameterError(f"LZMA data must be whole; unpacking gave '{error}'.") from error
    if len(found) != num_bytes:
        raise ParameterError(f"LZMA data must hold {num_bytes:,} bytes; received {len(found):,}.")
    return found


def checksum(values: NDArray[Any], crc: int = 0) -> int:
    """CRC-32 of numbers, little-endian, row by row, after those of another; in little memory."""
    if values.nbytes <= _CHECKED_BYTES:
        return zlib.crc32(little_endian(values), crc)
    if len(values) == 1:
        return checksum(values[0], crc)
    count = max(1, _CHECKED_BYTES // values[0].nbytes)
    for first in range(0, len(values), count):
        crc = checksum(values[first : first + count], crc)
    return crc


def little_endian(table: NDArray[Any]) -> bytes:
    """The numbers of an array, row by row."""
    return table.astype(table.dtype.newbyteorder("<")).tobytes()
