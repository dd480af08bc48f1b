"""Read the pictures in a column of Parquet files, as data set hubs store them; nothing else."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from convae.errors import ConvaeError, DataError, MissingExtraError
from convae.images.folders import find_files
from convae.images.gather import FolderImages, PictureSettings, Skipped, gather
from convae.images.pictures import PICTURE_EXTENSIONS
from convae.storage.files import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow
    from numpy.typing import NDArray

    from convae.images.pictures import Source

ENDING = ".parquet"
BATCH_ROWS = 32
# Of the values of a batch. A dictionary may hold one value for many rows, and that one may be all
# that the row group holds.
BATCH_BYTES = 2**28
# What a row group's pictures may take beside what they take compressed, and this many times that:
# a picture file is compressed already.
FREE_BYTES, MOST_GROWTH = 2**26, 100
# Without it, Arrow reads a column of a row group at once, and that may be the whole file.
BUFFER_BYTES = 2**20
IMAGE_COLUMNS = ("image", "img", "images")
LABEL_COLUMNS = ("label", "labels", "fine_label")

# A table of captions that hubs put beside pictures; it holds no picture itself.
CAPTIONS = "metadata.parquet"
# What hubs take for the name of a split, at the beginning of a file's or a folder's name.
SPLITS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
}


@dataclass(frozen=True)
class Shards:
    """The Parquet files of a folder by their splits, as names relative to the folder, sorted.

    Args:
        train: Those to train on, at least one.
        test: Those of the split `test`.
        left_out: What else there is, by the names of splits or files.
        unread: Folders that could not be listed, and why.
    """

    train: Sequence[str]
    test: Sequence[str]
    left_out: Sequence[str]
    unread: Skipped


def find_shards(root: Path, within: tuple[str, ...] = ("",)) -> Shards | None:
    """The Parquet files of a folder and its subfolders, or None where there are none.

    Those to train on are of the split `train`; without one, they are those that name no split;
    without those, they are of the only split that there is.

    Args:
        root: The folder.
        within: How names begin that count; others are left out.

    Raises:
        DataError: There are several splits and none to train on, or there are pictures too.
    """
    found = find_files(root, (ENDING,))
    splits: dict[str, list[str]] = {}
    left_out: set[str] = set()
    for name in found.names:
        if PurePosixPath(name).name == CAPTIONS:
            continue
        if name.startswith(within):
            splits.setdefault(_split(name), []).append(name)
        else:
            left_out.add(PurePosixPath(name).parts[0])
    if not splits:
        return None
    _check_alone(root, within, [name for names in splits.values() for name in names])
    chosen = next(split for split in ("train", "", *splits) if split in splits)
    if chosen not in ("train", "") and len(splits) > 1:
        raise DataError(
            f"Parquet files of several splits must have one that is named train; "
            f"{printable(root)} has {', '.join(sorted(splits))}. "
            f"Pass the path of a folder or a file of one split."
        )
    train, test = splits.pop(chosen), splits.pop("test", [])
    left_out.update(split or "files that name no split" for split in splits)
    return Shards(train, test, sorted(left_out), found.unread)


def _check_alone(root: Path, within: tuple[str, ...], shards: Sequence[str]) -> None:
    pictures = [
        name for name in find_files(root, PICTURE_EXTENSIONS).names if name.startswith(within)
    ]
    if pictures:
        raise DataError(
            f"A folder must hold pictures or Parquet files, not both; {printable(root)} has "
            f"pictures ({len(pictures):,}, {printable(pictures[0])} the first) and Parquet files "
            f"({len(shards):,}, {printable(min(shards))} the first). "
            f"Pass the path of a folder with one kind alone."
        )


def _split(name: str) -> str:
    """The split that a shard is of, or "" when its name and its folders' names tell none."""
    path = PurePosixPath(name)
    numbered = re.match(r"(.+?)-[0-9]{5}-of-[0-9]{5}", path.stem)
    if numbered:
        return SPLITS.get(numbered[1].lower(), numbered[1])
    words = (re.split("[-_.]", part)[0].lower() for part in (path.stem, *reversed(path.parts[:-1])))
    return next((SPLITS[word] for word in words if word in SPLITS), "")


def read_parquet(
    shards: Sequence[tuple[str, Path]], where: str, settings: PictureSettings, unread: Skipped = ()
) -> tuple[FolderImages, NDArray[Any] | None]:
    """Decode the image column of Parquet files, a few rows at a time, and its integer labels.

    The column holds the bytes of picture files, or structs with a field `bytes`.

    Args:
        shards: For each file, how the names of its rows begin, and its path; one file or more.
        where: Where they are, for a message.
        settings: What to make of the pictures.
        unread: What was skipped before.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataError: One is no Parquet file, has no image column or other columns than the first, or
            no picture can be used.
        ImageError: The settings are strict, and a picture cannot be used.
        OutputError: The store cannot be written, for example for lack of room.
    """
    columns, num_rows = _survey([path for _, path in shards])

    def pictures() -> Iterator[tuple[str, Source | None]]:
        for beginning, path in shards:
            yield from _rows(beginning, path, columns.image)

    folder = gather(pictures, num_rows, where, settings, unread)
    return folder, _labels([path for _, path in shards], columns, folder)


class PictureTable:
    """The pictures in the rows of one Parquet file.

    Args:
        path: Where it is.
        beginning: How the names of its rows begin.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataError: It is no Parquet file, or has no image column.
    """

    def __init__(self, path: Path, beginning: str = "") -> None:
        columns, self._num_rows = _survey([path])
        self._beginning, self._path, self._column = beginning, path, columns.image

    def __len__(self) -> int:
        return self._num_rows

    def __iter__(self) -> Iterator[tuple[str, Source | None]]:
        """The name of each row and its picture, None for an empty cell; a few are held at a time.

        Raises:
            DataError: The file is damaged.
        """
        return _rows(self._beginning, self._path, self._column)


def _rows(beginning: str, path: Path, column: str) -> Iterator[tuple[str, Source | None]]:
    row = 0
    with _opened(path) as file:
        rows = _rows_at_a_time(file, column, path)
        for batch in file.iter_batches(batch_size=rows, columns=[column]):
            for cell in batch.column(0).to_pylist():
                picture = cell.get("bytes") if isinstance(cell, dict) else cell
                yield f"{beginning}row {row}", picture
                row += 1


@dataclass(frozen=True)
class _Columns:
    """The columns that are read: that of the pictures, and those that may be labels."""

    image: str
    labels: tuple[str, ...]


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[pyarrow.parquet.ParquetFile]:
    """Open a Parquet file; inside the block, what Arrow raises becomes a DataError."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("Reading Parquet files", "parquet") from error
    try:
        with pyarrow.parquet.ParquetFile(path, buffer_size=BUFFER_BYTES) as file:
            yield file
    except ConvaeError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(
            f"{printable(path)} must be a Parquet file; reading it gave '{error}'. "
            f"Copy or download it again."
        ) from error


def _survey(paths: Sequence[Path]) -> tuple[_Columns, int]:
    """The columns that all files have, and the sum of their rows."""
    surveyed = []
    num_rows = 0
    for path in paths:
        with _opened(path) as file:
            schema = file.schema_arrow
            surveyed.append(_Columns(_image_column(schema, path), _label_columns(schema)))
            num_rows += file.metadata.num_rows
        if surveyed[-1] != surveyed[0]:
            raise DataError(
                f"All Parquet files of a data set must have the same columns of images and labels; "
                f"{printable(path)} has {_named(surveyed[-1])}, and {printable(paths[0])} has "
                f"{_named(surveyed[0])}. Write it again with the columns of the others, or move it "
                f"away."
            )
    return surveyed[0], num_rows


def _rows_at_a_time(file: pyarrow.parquet.ParquetFile, column: str, path: Path) -> int:
    """How many rows can be held at a time, whatever they hold.

    Raises:
        DataError: A row group takes far more memory than a file of pictures would.
    """
    largest = 1
    for group in map(file.metadata.row_group, range(file.metadata.num_row_groups)):
        for part in map(group.column, range(group.num_columns)):
            if part.path_in_schema.split(".")[0] != column:
                continue
            size, stored = part.total_uncompressed_size, part.total_compressed_size
            if size > FREE_BYTES + MOST_GROWTH * max(0, min(stored, path.stat().st_size)):
                raise DataError(
                    f"A Parquet file must hold pictures that are compressed already; "
                    f"{printable(path)} has a row group of {stored:,} bytes that become {size:,}. "
                    f"Write it again with pictures as PNG or JPEG files."
                )
            largest = max(largest, size)
    return max(1, min(BATCH_ROWS, BATCH_BYTES // largest))


def _named(columns: _Columns) -> str:
    return ", ".join((columns.image, *columns.labels))


def _image_column(schema: pyarrow.Schema, path: Path) -> str:
    from pyarrow import types

    def holds_pictures(kind: pyarrow.DataType) -> bool:
        if types.is_struct(kind):
            position = kind.get_field_index("bytes")
            return position >= 0 and holds_pictures(kind.field(position).type)
        return bool(types.is_binary(kind) or types.is_large_binary(kind))

    found = [field.name for field in schema if holds_pictures(field.type)]
    for name in IMAGE_COLUMNS:
        if name in found:
            return name
    if len(found) != 1:
        raise DataError(
            f"A Parquet file must have a column 'image', or a single column, of encoded pictures "
            f"(binary, or structs with a field 'bytes'); {printable(path)} has "
            f"{', '.join(f'{field.name} ({field.type})' for field in schema) or 'no column'}. "
            f"Rename the right one to 'image'."
        )
    return str(found[0])


def _label_columns(schema: pyarrow.Schema) -> tuple[str, ...]:
    from pyarrow import types

    return tuple(
        name
        for name in LABEL_COLUMNS
        if name in schema.names and types.is_integer(schema.field(name).type)
    )


def _labels(paths: Sequence[Path], columns: _Columns, folder: FolderImages) -> NDArray[Any] | None:
    for name in columns.labels:
        parts = []
        for path in paths:
            with _opened(path) as file:
                values = file.read(columns=[name]).column(0)
            if values.null_count:
                break
            parts.append(values.to_numpy())
        else:
            labels: NDArray[Any] = np.concatenate(parts)
            return labels[list(folder.positions)]
    return None
