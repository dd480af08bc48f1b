"""The images of an archive as picture files or as one array; decoding is `convae.coding`'s."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convae.coding.archive import ImageArchive
from convae.errors import ParameterError
from convae.images import write_image
from convae.images.store import check_room
from convae.report.result import Result
from convae.report.tables import csv_table
from convae.storage.files import check_output, open_whole, results_folder, write_whole
from convae.storage.naming import changed, file_names, folds_case

Progress = Callable[[int, int], None]

NAMES = "-names.csv"


def write_pictures(
    archive: ImageArchive,
    folder: Path,
    progress: Progress | None = None,
    *,
    overwrite: bool = False,
) -> Result:
    """Write every image as PNG, under its name or its number (`convae.storage.naming`).

    A table beside the folder, `FOLDER-names.csv`, tells the names of pictures whose files could not
    be called after them.

    Args:
        archive: Where from.
        folder: Where to.
        progress: Called with the images written and all images.
        overwrite: Whether files that exist may be replaced.

    Returns:
        How many images there are, and what their pixels take.

    Raises:
        ModelFileError: The archive is damaged.
        ParameterError: An image is no picture: it has 2 channels.
        MissingExtraError: An image has 16 bits in color, and imagecodecs is not installed.
        OutputError: A picture cannot be written, or exists.
    """
    with results_folder(folder) as probe:
        folds = folds_case(probe)
    names = archive.names()
    files = list(file_names(names, folds_case=folds))
    renamed = changed(names, files)
    table = _table_path(folder)
    for path in [*(folder / file for file in files), *([table] if renamed else [])]:
        check_output(path, overwrite=overwrite)
    if renamed:
        write_whole(table, csv_table(("file", "name"), renamed))
    num_bytes = 0
    for number, (image, file) in enumerate(zip(_images(archive), files, strict=True)):
        if image.shape[2] == 2:
            raise ParameterError(
                f"A picture file must have 1, 3 or 4 channels; the image at {number} has 2. "
                f"Write an array, OUT.npy."
            )
        write_image(folder / file, image)
        num_bytes += image.nbytes
        if progress is not None:
            progress(number + 1, len(archive))
    result = _result(len(archive), num_bytes, folder)
    if not renamed:
        return result
    line = f"{len(renamed):,} could not be called after its picture: {table} tells its name"
    if len(renamed) > 1:
        line = f"{len(renamed):,} could not be called after their pictures: {table} tells the names"
    figures = {**result.figures, "num_renamed": len(renamed)}
    return Result(figures, [*result.lines, line], {**result.files, "names": str(table)})


def _table_path(folder: Path) -> Path:
    """Beside the folder, where nothing but pictures is."""
    named = folder.resolve() if folder.name in ("", "..") else folder
    return named.with_name(named.name + NAMES)


def write_array(archive: ImageArchive, path: Path, progress: Progress | None = None) -> Result:
    """Write all images as one .npy file, a part at a time.

    Args:
        archive: Where from.
        path: Where to.
        progress: Called with the images written and all images.

    Returns:
        How many images there are, and what their pixels take.

    Raises:
        ModelFileError: The archive is damaged.
        ParameterError: The images are not all of one size and type, or there are none.
        OutputError: The file cannot be written, for example for lack of room.
    """
    kinds = archive.kinds()
    if len(kinds) != 1:
        raise ParameterError(
            f"An array must have images of one size and type; the archive holds {len(kinds)}. "
            f"Write pictures into a folder instead."
        )
    size, dtype = kinds.pop()
    shape = (len(archive), *(size[:2] if size[2] == 1 else size))
    # A few bytes may stand for very many.
    check_room(shape, dtype, path, "the images")
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    done = 0
    with open_whole(path) as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for images, _ in archive.read():
            stream.write(np.ascontiguousarray(images).tobytes())
            done += len(images)
            if progress is not None:
                progress(done, len(archive))
    return _result(done, math.prod(shape) * dtype.itemsize, path)


def _result(num_images: int, num_bytes: int, path: Path) -> Result:
    return Result(
        {"num_images": num_images, "num_pixel_bytes": num_bytes},
        [f"{num_images:,} images, {num_bytes:,} bytes of pixels"],
        {"images": str(path)},
    )


def _images(archive: ImageArchive) -> Iterator[NDArray[Any]]:
    for images, _ in archive.read():
        yield from images
