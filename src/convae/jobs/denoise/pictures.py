"""The folder that `convae denoise` leaves: pictures under their names, a table and a sheet."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convae.images.pictures import encode_image
from convae.images.resize import fit_channels
from convae.jobs.denoise.fitted import AppliedDenoiser
from convae.report.figures import mosaic
from convae.report.result import Result
from convae.report.tables import csv_table
from convae.storage.files import check_output, results_folder, write_part
from convae.storage.naming import file_names, folds_case

PICTURES = "pictures"
TABLE = "noise.csv"
SHEET = "comparison.png"
HEADER = ("file", "name", "noise_level")
# Pairs on the sheet, and the side of the part of each picture that is shown, from its middle.
NUM_SHOWN, SHOWN_SIDE = 10, 128
PAPER = 255

Batches = Iterable[tuple[NDArray[Any], Sequence[str]]]


def check_denoised(
    folder: Path, inputs: Sequence[str | os.PathLike[str]] = (), *, overwrite: bool
) -> None:
    """Refuse, before any work, to replace what `write_denoised` would replace.

    Args:
        folder: Where it is to write.
        inputs: What is read.
        overwrite: Whether earlier results there may be replaced.

    Raises:
        OutputError: There are some, or something else in their place.
    """
    for name in (PICTURES, TABLE, SHEET):
        check_output(folder / name, inputs, overwrite=overwrite)


def write_denoised(folder: Path, denoiser: AppliedDenoiser, batches: Batches) -> Result:
    """Denoise pictures, and write them as PNG under their names (`convae.storage.naming`).

    All appear together: the pictures, `noise.csv` with the noise level of each, and
    `comparison.png` with the first ones before and after.

    Args:
        folder: Where to; files of an earlier run with other names stay.
        denoiser: The fitted denoiser.
        batches: As `convae.exact_batches` gives them: uint8 or uint16, and their names, if any.

    Returns:
        How many pictures there are, and the middle of their noise levels.

    Raises:
        ImageError: A picture has two channels.
        MissingExtraError: A picture has 16 bits in color, and imagecodecs is not installed.
        ModelFileError: The weights of the file overflow.
        OutputError: A file cannot be written, or would replace something that must stay.
    """
    names: list[str | None] = []
    levels: list[float] = []
    shown: list[NDArray[np.uint8]] = []
    with results_folder(folder) as hidden:
        for images, own_names in batches:
            for picture in images:
                clean = denoiser.denoise_picture(picture)
                levels.append(denoiser.noise_level(picture, clean))
                write_part(_part(hidden, len(levels)), encode_image(clean))
                if len(shown) < 2 * NUM_SHOWN:
                    shown += [_middle(picture), _middle(clean)]
            names += own_names or [None] * len(images)
        files = [Path(PICTURES) / file for file in file_names(names, folds_case=folds_case(hidden))]
        for number, file in enumerate(files, start=1):
            (hidden / file).parent.mkdir(parents=True, exist_ok=True)
            _part(hidden, number).replace(hidden / file)
        rows = [
            (file.as_posix(), name or "", f"{level:.5f}")
            for file, name, level in zip(files, names, levels, strict=True)
        ]
        write_part(hidden / TABLE, csv_table(HEADER, rows))
        write_part(hidden / SHEET, encode_image(mosaic(_same_size(shown), 2)))
    level = float(np.median(levels))
    return Result(
        {"num_images": len(levels), "noise_level": level},
        [f"{len(levels):,} images; noise level {level:.3f} (of white; the middle of all)"],
        {
            "pictures": str(folder / PICTURES),
            "table": str(folder / TABLE),
            "comparison": str(folder / SHEET),
        },
    )


def _part(hidden: Path, number: int) -> Path:
    """Where a picture waits until all names are known."""
    return hidden / f"{number}.part"


def _middle(picture: NDArray[Any]) -> NDArray[np.uint8]:
    """The middle of a picture, uint8 `(height, width, 3)`, one pixel for one."""
    slices = []
    for length in picture.shape[:2]:
        start = max(0, (length - SHOWN_SIDE) // 2)
        slices.append(slice(start, start + SHOWN_SIDE))
    part = picture[tuple(slices)]
    if part.dtype == np.uint16:
        part = (part >> 8).astype(np.uint8)
    return fit_channels(part, 3)


def _same_size(pictures: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Pictures of several sizes on one size of paper."""
    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    sheet = np.full((len(pictures), height, width, 3), PAPER, np.uint8)
    for place, picture in zip(sheet, pictures, strict=True):
        place[: picture.shape[0], : picture.shape[1]] = picture
    return sheet
