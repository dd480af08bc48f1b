"""Keep images in one .npy file on disk and use them from there; it decodes and resizes nothing."""

import io
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from convae.errors import DataError, ImageError, OutputError, ParameterError
from convae.images.contract import as_images
from convae.images.memory import check_memory, chunks
from convae.images.resize import CHANNELS
from convae.storage.files import open_whole, printable

ENDING = ".npy"
USE_STORE = "pass store (--store FILE on the command line), which keeps training images in a file"

StorePath: TypeAlias = str | os.PathLike[str]
MemoryMap: TypeAlias = np.memmap[Any, np.dtype[Any]]


def store_images(parts: Iterable[ArrayLike], path: StorePath) -> MemoryMap:
    """Write a stream of images to one .npy file, in bounded memory, and map the file.

    The file appears whole or not at all, and `numpy.load` and `convae.load_dataset` read it. It
    holds only the images: the caller keeps labels and names.

    Args:
        parts: Arrays of images, any number of them, each as the contract of `convae.images` has
            it and of one image or more; all of the same height, width, channels and dtype. One
            array stands for itself.
        path: Output path; it ends in .npy, and its folder is made when missing. An existing file
            is replaced if it is empty or holds images, and refused otherwise.

    Returns:
        The images, uint8 or float32 of shape (num_images, height, width, channels), as a memory
        map that cannot be written to: what is used is read, and nothing else.

    Raises:
        ImageError: There is no part, or one breaks the contract or differs from the first.
        ParameterError: The path does not end in .npy.
        OutputError: The file cannot be written, for want of room for one, or something that must
            not be replaced is in its way.
    """
    target = check_store(path)
    try:
        with open_whole(target) as stream:
            _write(stream, [parts] if isinstance(parts, np.ndarray) else parts)
    except _SourceFailedError as failed:
        raise failed.error from failed.error.__cause__
    return map_array(target)


class _SourceFailedError(Exception):
    """Carries an OSError of the source of the parts past `open_whole`, which reports writing."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


def _write(stream: BinaryIO, parts: Iterable[ArrayLike]) -> None:
    count = 0
    kind: tuple[np.dtype[Any], tuple[int, ...]] | None = None
    for part in _made(parts):
        try:
            images = as_images(part)
        except ImageError as error:
            raise ImageError(f"The part that begins at image {count:,}: {error}") from error
        found = images.dtype, images.shape[1:]
        if kind is None:
            kind = found
            stream.write(_header(0, *kind))
        elif found != kind:
            raise ImageError(
                f"All parts must have one dtype, height, width and number of channels; received "
                f"{found[0]} and {found[1]} from image {count:,} on, after {kind[0]} and "
                f"{kind[1]}. Bring them together with convae.images.to_float, fit_size and "
                f"fit_channels."
            )
        stream.writelines(np.ascontiguousarray(images[chunk]).data for chunk in chunks(images))
        count += len(images)
    if kind is None:
        raise ImageError(
            "There must be at least one image to store; received no part. Check what makes them."
        )
    stream.seek(0)
    stream.write(_header(count, *kind))


def _made(parts: Iterable[ArrayLike]) -> Iterator[ArrayLike]:
    try:
        yield from parts
    except OSError as error:
        raise _SourceFailedError(error) from error


def _header(count: int, dtype: np.dtype[Any], image_shape: tuple[int, ...]) -> bytes:
    """What a .npy file begins with; its length does not depend on `count`.

    NumPy leaves room for 21 digits on the first axis, so that a file can grow.
    """
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer,
        {
            "descr": np.lib.format.dtype_to_descr(dtype),
            "fortran_order": False,
            "shape": (count, *image_shape),
        },
    )
    return buffer.getvalue()


def check_store(path: StorePath) -> Path:
    """Refuse a path that images cannot be stored at, before there is any work to lose.

    Raises:
        ParameterError: It does not end in .npy.
        OutputError: Something is there that must not be replaced.
    """
    if not isinstance(path, (str, os.PathLike)) or Path(path).suffix.lower() != ENDING:
        raise ParameterError(
            f"Images are stored in a .npy file; received {path!r}. "
            f"Pass a path that ends in .npy, as in images.npy."
        )
    # Not the methods of Path, which raise where a folder on the way may not be searched.
    if os.path.isfile(path):  # noqa: PTH113
        if os.path.getsize(path) > 0:  # noqa: PTH202
            _check_replaceable(Path(path))
    elif os.path.exists(path):  # noqa: PTH110
        raise _in_the_way(path, "a folder, a device or a pipe")
    return Path(path)


def _check_replaceable(path: Path) -> None:
    try:
        shape, dtype, _ = _read_header(path)
    except Exception as error:  # as in map_array
        raise _in_the_way(path, "a file of another kind, or one that cannot be read") from error
    if len(shape) != 4 or shape[-1] not in CHANNELS or dtype not in (np.uint8, np.float32):
        raise _in_the_way(path, f"a .npy file with {dtype} of shape {shape}")


def _in_the_way(path: StorePath, what: str) -> OutputError:
    return OutputError(
        f"Images are stored where nothing is yet, or in place of stored images; {printable(path)} "
        f"is {what}. Choose another path, or remove it first."
    )


def keep_images(
    parts: Iterable[NDArray[Any]],
    shape: tuple[int, ...],
    dtype: DTypeLike,
    store: StorePath | None,
    what: str,
    remedy: str,
) -> NDArray[Any]:
    """Images that are made a few at a time, in memory or in a store.

    Args:
        parts: Arrays of images of one size and dtype.
        shape: Of all images; there may turn out to be fewer.
        dtype: Of the images.
        store: The .npy file to keep them in; None keeps them in memory.
        what: Who asks, as the subject of a message.
        remedy: What else can be done for lack of memory, without a full stop.

    Returns:
        An array, or with a store a memory map that cannot be written to.

    Raises:
        DataError: They need too much memory.
        OutputError: The store cannot be written, for example for lack of room.
    """
    if store is not None:
        check_room(shape, dtype, store, what)
        return store_images(parts, store)
    check_memory(shape, dtype, what, f"{remedy}, or {USE_STORE}.")
    images = np.empty(shape, dtype)
    count = 0
    for part in parts:
        images[count : count + len(part)] = part
        count += len(part)
    return images[:count]


def check_room(shape: Sequence[int], dtype: DTypeLike, path: StorePath, what: str) -> None:
    """Refuse images that the disk has no room for, before anything is written.

    Args:
        shape: Of the images.
        dtype: Of the images.
        path: Where they will be stored.
        what: Who asks, as the subject of the message.

    Raises:
        OutputError: There is no room, or the path is none.
    """
    num_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    try:
        folder = os.path.realpath(path)
        while not os.path.isdir(folder):  # noqa: PTH112 # as in check_store
            folder = os.path.dirname(folder)  # noqa: PTH120
        free = shutil.disk_usage(folder).free
    except (OSError, ValueError) as error:
        raise OutputError(
            f"A place for images must be one that the system can find; looking for "
            f"{printable(path)} gave '{error}'. Choose another path."
        ) from error
    if num_bytes > free:
        raise OutputError(
            f"Images in a file need free disk space; {what} would take "
            f"{num_bytes / 2**30:,.1f} GiB, and {printable(folder)} has "
            f"{free / 2**30:,.1f} GiB free. Make room there, choose another path, or a smaller "
            f"size."
        )


def map_array(path: Path) -> MemoryMap:
    """Open a .npy file as a memory map that cannot be written to: only what is used is read.

    The file may be damaged or hostile: it runs no code, and no memory is taken for what it claims.

    Raises:
        DataError: It is no .npy file, holds Python objects, or is shorter than it says.
    """
    try:
        mapped: MemoryMap = _map_whole(path)
    except Exception as error:  # a hostile header can make NumPy's parser raise anything
        raise unreadable(path, "a .npy file with one numeric array", error) from error
    return mapped


def _map_whole(path: Path) -> MemoryMap:
    if path.exists() and not path.is_file():  # opening a pipe would wait for its writer
        raise ValueError("it is a folder, a device or a pipe")
    shape, dtype, start = _read_header(path)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    promised, found = math.prod(shape) * dtype.itemsize, path.stat().st_size - start
    if promised > found:
        raise ValueError(f"its header promises {promised:,} bytes, and it holds {found:,}")
    return np.lib.format.open_memmap(path, mode="r")


def _read_header(path: Path) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape, dtype and first byte of the array in a .npy file."""
    with path.open("rb") as stream:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        else:
            shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
        return shape, dtype, stream.tell()


def unreadable(path: Path, rule: str, error: Exception) -> DataError:
    """What to raise when a file of arrays is not what `rule` says."""
    reason = getattr(error, "strerror", None) or error
    return DataError(
        f"{printable(path)} must be {rule}; reading it gave '{reason}'. "
        f"Copy or download it again, or save it again."
    )
