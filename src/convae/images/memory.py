"""How much memory images may take, at once and at a time, and giving back that of a memory map."""

import math
import mmap
import os
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from convae.errors import DataError

# Used where the system does not tell how much memory it has.
UNKNOWN_MEMORY_LIMIT = 8 * 2**30

# Values worked on at a time, where all at once would need several arrays as large as the images.
CHUNK_VALUES = 2**22


def memory_limit() -> int:
    """Bytes that one set of images may take: half of the machine's memory."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, OSError, ValueError):
        return UNKNOWN_MEMORY_LIMIT


def check_memory(shape: Sequence[int], dtype: DTypeLike, what: str, remedy: str) -> None:
    """Refuse an array of more than `memory_limit` bytes, before anything is allocated.

    Args:
        shape: Its shape.
        dtype: Its dtype.
        what: Who asks, as the subject of the message.
        remedy: What the user can do, as a whole sentence.

    Raises:
        DataError: It is too much.
    """
    num_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    limit = memory_limit()
    if num_bytes > limit:
        raise DataError(
            f"Images may take half of this machine's memory, {limit / 2**30:,.1f} GiB; "
            f"{what} would take {num_bytes / 2**30:,.1f} GiB. {remedy}"
        )


class Shaped(Protocol):
    """An array, or what stands for one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""


def chunks(images: Shaped, copies: int = 1) -> Iterator[slice]:
    """Slices that cut the first axis of an array into parts of bounded size, one image or more.

    Args:
        images: Any array, or what has the shape of one.
        copies: How many arrays of a part's size there will be at a time.
    """
    length = max(1, CHUNK_VALUES // max(1, copies * math.prod(images.shape[1:])))
    for start in range(0, images.shape[0], length):
        yield slice(start, start + length)


def release(images: NDArray[np.generic]) -> None:
    """Give back the memory that the pages of a memory map take; they are read again when used.

    An array in memory stays as it is, and so does a map whose changes exist in memory alone
    (`mmap_mode="c"`). Where the system has no such call (Windows), nothing is given back.

    Args:
        images: Any array; the whole map that it is a view of is meant.
    """
    array = images
    while isinstance(array.base, np.ndarray):
        array = array.base
    if not isinstance(array, np.memmap) or array.mode == "c":
        return
    if isinstance(array.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        array.base.madvise(mmap.MADV_DONTNEED)
