"""The pictures of a folder with exactly the integers they hold, each at its own size."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convae.errors import DataError, ImageError
from convae.images.folders import find_files
from convae.images.gather import Progress
from convae.images.pictures import PICTURE_EXTENSIONS, read_exact
from convae.storage.files import printable

# Pictures are collected up to this much memory, so that those of one size come together.
BATCH_BYTES = 1 << 26

Kind = tuple[tuple[int, ...], np.dtype[Any]]


def exact_batches(
    path: Path,
    skipped: list[tuple[str, str]],
    *,
    names: Sequence[str] | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> Iterator[tuple[NDArray[Any], list[str]]]:
    """Read the pictures of a folder and its subfolders, sorted by path; or one file.

    Args:
        path: The folder or the file.
        skipped: Takes the name of each picture that cannot be used, and why.
        names: Those of a folder to read, relative to it, if not all.
        strict: Refuse the first such picture instead.
        progress: Called with the pictures read and all pictures.

    Yields:
        Pictures of one size and type, uint8 or uint16 `(num_images, height, width, channels)`, and
        their names, relative to the folder. Of about 64 MiB of pictures, those of one size stand
        together.

    Raises:
        DataError: There is no picture, or none can be used.
        ImageError: `strict`, and a picture cannot be used.
    """
    root, found = path.parent, [path.name]
    if path.is_dir():
        root, found = path, list(names or find_files(path, PICTURE_EXTENSIONS).names)
    if not found or not path.exists():
        raise DataError(
            f"There must be pictures to read; {printable(path)} holds none. Check the path."
        )
    waiting: dict[Kind, tuple[list[NDArray[Any]], list[str]]] = {}
    num_bytes = num_read = 0
    for done, name in enumerate(found):
        try:
            picture = read_exact(root / name)
        except ImageError as error:
            if strict:
                raise
            skipped.append((name, str(error)))
            continue
        pictures, own = waiting.setdefault((picture.shape, picture.dtype), ([], []))
        pictures.append(picture)
        own.append(name)
        num_bytes += picture.nbytes
        num_read += 1
        if num_bytes >= BATCH_BYTES:
            yield from _batches(waiting)
            waiting, num_bytes = {}, 0
        if progress is not None:
            progress(done + 1, len(found))
    yield from _batches(waiting)
    if not num_read:
        raise DataError(
            f"At least one picture must be usable; none of the {len(found):,} in {printable(path)} "
            f"is. The first: {skipped[0][1]}"
        )


def _batches(
    waiting: dict[Kind, tuple[list[NDArray[Any]], list[str]]],
) -> Iterator[tuple[NDArray[Any], list[str]]]:
    for pictures, names in waiting.values():
        yield np.stack(pictures), names
