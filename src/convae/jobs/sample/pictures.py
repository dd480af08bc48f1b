"""Generated images as one sheet, an animation, an array or a folder."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convae.errors import ParameterError
from convae.images import to_uint8, write_image
from convae.report.figures import mosaic
from convae.report.result import Result
from convae.report.runs import write_npy
from convae.storage.files import check_output, write_whole

ANIMATIONS = {".gif": "GIF", ".apng": "PNG"}
SHEET, ARRAY = ".png", ".npy"
MILLISECONDS = 120
MOST_ON_A_SHEET = 10_000


def check_samples_path(path: Path, num_images: int, *, overwrite: bool) -> None:
    """Refuse, before any work, a place that `write_samples` would refuse.

    Args:
        path: Where to.
        num_images: How many there will be.
        overwrite: Whether what exists may be replaced.

    Raises:
        ParameterError: The path has an ending that is not known, or there are too many for a sheet.
        OutputError: Something is there.
    """
    ending = path.suffix.lower()
    if ending not in ("", SHEET, ARRAY, *ANIMATIONS):
        raise ParameterError(
            f"Images are written to a sheet (.png), an animation (.gif, .apng), an array (.npy) or "
            f"a folder (no ending); received {str(path)!r}. Choose one of them."
        )
    if ending in (SHEET, *ANIMATIONS) and num_images > MOST_ON_A_SHEET:
        raise ParameterError(
            f"A sheet or an animation has at most {MOST_ON_A_SHEET:,} images; received "
            f"{num_images:,}. Write an array or a folder instead."
        )
    for place in [path] if ending else [path / name for name in _names(num_images)]:
        check_output(place, overwrite=overwrite)


def write_samples(path: Path, images: NDArray[np.float32], columns: int = 0) -> Result:
    """Write images as the ending of a path says.

    Args:
        path: `.png` for one sheet, `.gif` or `.apng` for an animation that goes through them,
            `.npy` for a uint8 array; without an ending, a folder of PNG pictures.
        images: float32 in [0, 1], `(num_images, height, width, channels)`.
        columns: Images in a row of a sheet; 0 makes it about square.

    Raises:
        ParameterError: The path has another ending.
        OutputError: A file cannot be written.
    """
    pixels = to_uint8(images)
    ending = path.suffix.lower()
    if ending == ARRAY:
        write_npy(path, pixels)
    elif ending == SHEET:
        write_image(path, mosaic(pixels, columns))
    elif ending in ANIMATIONS:
        write_whole(path, _animation(pixels, ANIMATIONS[ending]))
    else:
        for name, image in zip(_names(len(pixels)), pixels, strict=True):
            write_image(path / name, image)
    return Result({"num_images": len(pixels)}, [f"{len(pixels):,} images"], {"images": str(path)})


def _names(num_images: int) -> list[str]:
    digits = len(str(num_images - 1))
    return [f"{index:0{digits}}{SHEET}" for index in range(num_images)]


def _animation(pixels: NDArray[np.uint8], kind: str) -> bytes:
    """There and back, so that it has no jump."""
    shown = [*pixels, *pixels[-2:0:-1]]
    frames = [Image.fromarray(mosaic(image[np.newaxis])) for image in shown]
    stream = io.BytesIO()
    options: dict[str, Any] = {"duration": MILLISECONDS, "loop": 0}
    frames[0].save(stream, kind, save_all=True, append_images=frames[1:], **options)
    return stream.getvalue()
