"""Read the pictures in a column of a Parquet file, as data set hubs store them; nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convae.errors import ConvaeError, DataError, MissingExtraError
from convae.files import printable
from convae.images.gather import FolderImages, PictureSettings, gather

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow
    from numpy.typing import NDArray

    from convae.images.pictures import Source

BATCH_ROWS = 32
IMAGE_COLUMNS = ("image", "img", "images")
LABEL_COLUMNS = ("label", "labels", "fine_label")


def read_parquet(path: Path, settings: PictureSettings) -> tuple[FolderImages, NDArray[Any] | None]:
    """Decode the image column of a Parquet file, a few rows at a time, and its integer labels.

    The column holds the bytes of picture files, or structs with a field `bytes`.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataError: It is no Parquet file, has no image column, or no picture can be used.
        ImageError: The settings are strict, and a picture cannot be used.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("Reading Parquet files", "parquet") from error

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            column = _image_column(file.schema_arrow, path)

            if file.metadata.num_rows == 0:
                raise _no_rows(path)

            def pictures() -> Iterator[tuple[str, Source | None]]:
                row = 0
                for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=[column]):
                    for cell in batch.column(0).to_pylist():
                        yield f"row {row}", cell.get("bytes") if isinstance(cell, dict) else cell
                        row += 1

            folder = gather(pictures, file.metadata.num_rows, printable(path), settings)
            return folder, _labels(file, folder)
    except ConvaeError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(
            f"{printable(path)} must be a Parquet file; reading it gave '{error}'. "
            f"Copy or download it again."
        ) from error


def _no_rows(path: Path) -> DataError:
    return DataError(
        f"At least one picture must be usable; {printable(path)} holds no rows. "
        f"Choose another file."
    )


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


def _labels(file: pyarrow.parquet.ParquetFile, folder: FolderImages) -> NDArray[Any] | None:
    from pyarrow import types

    schema = file.schema_arrow
    for name in LABEL_COLUMNS:
        if name in schema.names and types.is_integer(schema.field(name).type):
            values = file.read(columns=[name]).column(0)
            if values.null_count == 0:
                labels: NDArray[Any] = values.to_numpy()
                return labels[list(folder.positions)]
    return None
