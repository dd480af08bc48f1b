"""The images of an archive as picture files or as one array; decoding is `convae.coding`'s."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convae.coding.archive import ImageArchive
from convae.errors import ModelFileError, ParameterError
from convae.images import write_image
from convae.storage.files import open_whole, printable

Progress = Callable[[int, int], None]

# What a file's name can hold nowhere, or stands for another folder or a device on some system.
_BAD = re.compile(r'[\x00-\x1f<>:"\\|?*]')
_PNG = ".png"


def write_pictures(archive: ImageArchive, folder: Path, progress: Progress | None = None) -> int:
    """Write every image as PNG, under its name or its number.

    Args:
        archive: Where from.
        folder: Where to; pictures of the same names are replaced.
        progress: Called with the images written and all images.

    Returns:
        How many there are.

    Raises:
        ModelFileError: The archive is damaged, or a name would lead out of the folder.
        ParameterError: An image is no picture (2 channels, or 16 bits in color).
        OutputError: A picture cannot be written.
    """
    written: set[Path] = set()
    for number, (image, name) in enumerate(_images(archive)):
        target = _target(name or f"{number:0{len(str(len(archive)))}d}", archive)
        if target in written:
            raise _refused(archive, f"the name {printable(target)} twice")
        written.add(target)
        if image.shape[2] == 2 or (image.dtype == np.uint16 and image.shape[2] > 1):
            raise ParameterError(
                f"A picture file must have 1, 3 or 4 channels, and 1 of 16 bits; the image at "
                f"{number} has {image.shape[2]} of {image.dtype}. Write an array, OUT.npy."
            )
        write_image(folder / target, image)
        if progress is not None:
            progress(number + 1, len(archive))
    return len(archive)


def write_array(archive: ImageArchive, path: Path, progress: Progress | None = None) -> int:
    """Write all images as one .npy file, a part at a time.

    Args:
        archive: Where from.
        path: Where to.
        progress: Called with the images written and all images.

    Returns:
        How many there are.

    Raises:
        ModelFileError: The archive is damaged.
        ParameterError: The images are not all of one size and type, or there are none.
        OutputError: The file cannot be written.
    """
    kinds = {(*block.kind.shape[1:], block.kind.dtype) for block in archive.blocks()}
    if len(kinds) != 1:
        raise ParameterError(
            f"An array must have images of one size and type; the archive holds {len(kinds)}. "
            f"Write pictures into a folder instead."
        )
    *size, dtype = kinds.pop()
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": (len(archive), *(size[:2] if size[2] == 1 else size)),
    }
    done = 0
    with open_whole(path) as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for images, _ in archive.read():
            stream.write(np.ascontiguousarray(images).tobytes())
            done += len(images)
            if progress is not None:
                progress(done, len(archive))
    return done


def _images(archive: ImageArchive) -> Iterator[tuple[NDArray[Any], str | None]]:
    for images, names in archive.read():
        for index, image in enumerate(images):
            yield image, names[index] if names else None


def _target(name: str, archive: ImageArchive) -> Path:
    """Where a picture goes, under the folder and nowhere else."""
    path = PurePosixPath(name)
    parts = path.parts
    bad = not parts or path.is_absolute() or ".." in parts or any(map(_BAD.search, parts))
    if bad or any(part != part.rstrip(". ") for part in parts):
        raise _refused(archive, f"{printable(name)!r:.100} as the name of a picture")
    if path.suffix.lower() != _PNG:
        path = path.with_name(path.name + _PNG)
    return Path(path)


def _refused(archive: ImageArchive, what: str) -> ModelFileError:
    return ModelFileError(
        f"{archive.name} must give each picture a name of its own inside the folder; received "
        f"{what}. Write an array, OUT.npy, or read single images with convae.ImageCodec."
    )
