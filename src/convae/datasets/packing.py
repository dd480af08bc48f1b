"""What `convae compress` packs: everything that is there, of a data set with a test part that part.

It reads pictures and arrays as they are, or pictures at one size; it packs nothing.
"""

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convae.datasets.arrays import Arrays
from convae.datasets.fit import check_images, count_resized, fit_images
from convae.datasets.load import NAMES, check_exists, load_dataset, read_arrays
from convae.datasets.parquet import CAPTIONS, ENDING, PictureTable
from convae.errors import ConvaeError, DataError, ImageError
from convae.images.exact import exact_pictures
from convae.images.folders import FoundFiles, find_files, no_pictures
from convae.images.gather import PictureSettings, Progress, check_listed, gather
from convae.images.memory import chunks
from convae.images.opened import PICTURE_EXTENSIONS, Source
from convae.images.resize import Size
from convae.storage.files import printable

MOST_CHANNELS = 4

Batches = Iterator[tuple[NDArray[Any], Sequence[str]]]


def exact_batches(
    name_or_path: str | os.PathLike[str],
    skipped: list[tuple[str, str]],
    *,
    notes: list[str] | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> Batches:
    """Read everything that is there, as it is: nothing is resized, and no value is changed.

    Of a folder these are all pictures in it and in its subfolders, sorted by path, and then the
    pictures in the rows of its Parquet files. Of `mnist`, `digits`, and of arrays that have a test
    part, it is that part alone.

    Args:
        name_or_path: `mnist`, `digits`, a folder, or a .npz, .npy, IDX, .parquet or picture file.
        skipped: Takes the name of each picture that cannot be used, and why; and of each folder and
            Parquet file.
        notes: Takes what else is left out, in sentences: files with other endings, frames and pages
            behind the first, and images that are not of the test part.
        strict: Refuse the first picture that cannot be used, instead of skipping it; or of which
            only the first frame or page would be read; or a folder that cannot be listed.
        progress: Called with the pictures read and all pictures.

    Yields:
        Pictures of one size and type, uint8 or uint16 `(num_images, height, width, channels)` with
        sides of 1 or more, and their names, relative to the folder. Of about 64 MiB of pictures,
        those of one size stand together. Arrays come without names.

    Raises:
        DataError: There is no picture, or none can be used; or `strict`, and a folder cannot be
            listed.
        ImageError: An array has no integers of 8 or 16 bits; or `strict`, and a picture cannot be
            used.
        MissingExtraError: A Parquet file, and pyarrow is not installed.
    """
    said: list[str] = [] if notes is None else notes
    arrays = _arrays(name_or_path)
    if arrays is not None:
        yield from _exact(_test_part(arrays, said), printable(name_or_path))
        return
    found = _find(Path(name_or_path), skipped, strict)
    said += found.notes
    num_read, first = 0, len(skipped)
    for images, names in exact_pictures(
        found.pictures(), len(found), skipped, said, strict=strict, progress=progress
    ):
        num_read += len(images)
        yield images, names
    if not num_read:
        reason = "".join(
            f" The first, {printable(name)}: {why}" for name, why in skipped[first:][:1]
        )
        raise DataError(
            f"At least one picture must be usable; none of the {len(found):,} in "
            f"{printable(name_or_path)} is.{reason}"
        )


def fitted_batches(
    name_or_path: str | os.PathLike[str],
    size: Size,
    channels: int,
    skipped: list[tuple[str, str]],
    *,
    notes: list[str] | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> Batches:
    """Read what `exact_batches` reads, brought to one size (`pad`) and number of channels.

    Args:
        name_or_path: As in `exact_batches`.
        size: Height and width, in pixels; one number for both.
        channels: 1, 3 or 4.
        skipped: As in `exact_batches`.
        notes: As in `exact_batches`; also how many images were of another size.
        strict: As in `exact_batches`.
        progress: Called with the steps done and all steps; a picture takes two steps.

    Yields:
        uint8, or float32 in [0, 1], `(num_images, height, width, channels)`, and their names.

    Raises:
        DataError: As `exact_batches`.
        ImageError: As `exact_batches`, or an array breaks the contract of `convae.images`.
        MissingExtraError: As `exact_batches`.
    """
    said: list[str] = [] if notes is None else notes
    settings = PictureSettings(size, channels, "pad", strict, progress)
    where = printable(name_or_path)
    arrays = _arrays(name_or_path)
    names: Sequence[str] = ()
    if arrays is not None:
        given = check_images(_test_part(arrays, said), where, settings)
        num_resized = count_resized(given, settings)
        images = fit_images(given, where, settings)
    else:
        found = _find(Path(name_or_path), skipped, strict)
        folder = gather(found.pictures, len(found), where, settings, (), found.notes)
        images, names, num_resized = folder.images, folder.paths, folder.num_resized
        skipped += folder.skipped
        said += folder.notes
    if num_resized:
        height, width = images.shape[1:3]
        said.append(f"{num_resized:,} of another size were changed to {height} x {width}")
    yield images, names


@dataclass(frozen=True)
class _Found:
    """All pictures of a path.

    Args:
        root: Where the picture files lie.
        names: Those, relative to it.
        tables: The Parquet files.
        notes: What was left out, in sentences.
    """

    root: Path
    names: Sequence[str]
    tables: Sequence[PictureTable]
    notes: Sequence[str]

    def __len__(self) -> int:
        return len(self.names) + sum(map(len, self.tables))

    def pictures(self) -> Iterable[tuple[str, Source | None]]:
        """A name and a path or bytes for each picture."""
        files = ((name, self.root / name) for name in self.names)
        return itertools.chain(files, *self.tables)


def _find(path: Path, skipped: list[tuple[str, str]], strict: bool) -> _Found:
    if not path.is_dir():
        if path.suffix.lower() == ENDING:
            return _Found(path, (), [PictureTable(path)], ())
        return _Found(path.parent, [path.name], (), ())
    found = find_files(path, (*PICTURE_EXTENSIONS, ENDING))
    if strict:
        check_listed(found.unread)
    pictures = [name for name in found.names if not name.lower().endswith(ENDING)]
    tables = []
    captions = 0
    for name in sorted(set(found.names).difference(pictures)):
        if PurePosixPath(name).name == CAPTIONS:
            captions += 1
            continue
        try:
            tables.append(PictureTable(path / name, f"{name} "))
        except ConvaeError as error:
            if strict or not pictures:
                raise
            skipped.append((name, str(error)))
    unused = FoundFiles(pictures, found.num_others + captions, found.unread, found.num_links)
    if not pictures and not tables:
        raise no_pictures(path, unused)
    skipped += found.unread
    return _Found(path, pictures, tables, unused.notes())


def _arrays(name_or_path: str | os.PathLike[str]) -> Arrays | None:
    """The arrays of a name or a path, or None for pictures."""
    name = os.fspath(name_or_path)
    if name in NAMES:
        dataset = load_dataset(name)
        return Arrays(dataset.train, dataset.test)
    check_exists(Path(name), name)
    return read_arrays(Path(name))


def _test_part(arrays: Arrays, notes: list[str]) -> NDArray[Any]:
    if arrays.test is None:
        return arrays.train
    left = len(arrays.train)
    notes.append(f"only the test part is packed; {left:,} training images are left out")
    return arrays.test


def _exact(images: NDArray[Any], source: str) -> Batches:
    """An array as it is, a part at a time where its bytes must be turned round."""
    if images.dtype.kind != "u" or images.itemsize > 2:
        remedy = {
            "f": "Round them to 8 bits with convae.images.to_uint8(array), or to 16 with "
            "numpy.rint(array * 65535).astype('uint16') if they are in [0, 1].",
            "b": "Convert with array.astype('uint8').",
        }.get(
            images.dtype.kind,
            "Convert with array.astype('uint8') if no value passes 255, or with "
            "array.astype('uint16') if none passes 65,535.",
        )
        raise ImageError(
            f"An array to keep exactly must be uint8 or uint16; {source} holds {images.dtype}. "
            f"{remedy} Save that instead."
        )
    channels = images.shape[3] if images.ndim == 4 else 1
    if images.ndim not in (3, 4) or 0 in images.shape or channels > MOST_CHANNELS:
        remedy = "Reshape it with array.reshape(num_images, height, width, channels)."
        if images.ndim == 2:
            remedy = "For one gray image, use array[numpy.newaxis]."
        elif images.ndim == 4 and images.shape[1] <= MOST_CHANNELS:
            remedy = "This looks like channels first: use numpy.moveaxis(array, 1, -1)."
        raise ImageError(
            f"An array of images must have the shape (num_images, height, width), or with 1 to "
            f"{MOST_CHANNELS} channels at the end; {source} has the shape {images.shape}. {remedy}"
        )
    shaped = images if images.ndim == 4 else images[..., np.newaxis]
    native = images.dtype.newbyteorder("=")
    if native == images.dtype:
        yield shaped, ()
    else:
        for part in chunks(shaped):
            yield shaped[part].astype(native), ()
