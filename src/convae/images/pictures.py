"""Read and write one picture file; what is done with many of them is `convae.images.folders`.

Color profiles are not applied, and only the first frame or page is read.
"""

import contextlib
import io
import os
import re
import stat
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from convae.errors import ImageError
from convae.images.resize import CHANNELS, SMALLEST_SIDE
from convae.storage.files import open_whole, printable

PICTURE_EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
# Nothing else that Pillow reads: each decoder is one more way in for a hostile file.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
MOST_PIXELS = 64_000_000
_LARGEST = 65_535

Source = Path | bytes

_GRAY_16_BIT = ("I", "I;16", "I;16B", "I;16L", "I;16N")
# Tags of EXIF and TIFF.
_ORIENTATION = 274
_WIDTH = 256
_HEIGHT = 257
_BITS_PER_SAMPLE = 258
_PHOTOMETRIC = 262
_SAMPLE_FORMAT = 339


@dataclass(frozen=True, slots=True)
class Header:
    """What a picture file says of itself before it is decoded.

    Args:
        height: Rows, in pixels, 8 or more.
        width: Columns, in pixels, 8 or more.
        channels: 1 (gray), 3 (RGB) or 4 (RGBA).
        dtype: What it decodes to: uint8, or float32 for 16-bit gray.
    """

    height: int
    width: int
    channels: int
    dtype: np.dtype[Any]


def read_image(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Decode one picture file: PNG, JPEG, TIFF, BMP, WebP or GIF.

    The EXIF orientation is applied. Palettes become the colors they stand for, CMYK becomes
    RGB, gray with alpha becomes RGBA. Values of 16-bit gray are divided by 65,535.

    Args:
        path: The file; its content decides, not its name.

    Returns:
        Shape (height, width, channels) with 1, 3 or 4 channels; uint8, or float32 in [0, 1] for
        16-bit and floating-point gray.

    Raises:
        ImageError: The file is missing, no picture, damaged, smaller than 8 pixels, larger than
            64 million pixels, or holds values that would have to be cut (16-bit color).
    """
    return decode(Path(path), printable(path))


def read_header(source: Source, name: str) -> Header:
    """Look at a picture without decoding it (a palette is the exception).

    Args:
        source: A path, or the bytes of a file.
        name: What to call it in a message.

    Raises:
        ImageError: As `read_image`.
    """
    with _opened(source, name) as image:
        # Newer versions of Pillow turn the size of a TIFF themselves; its tags stay.
        tags = getattr(image, "tag_v2", {})
        width, height = tags.get(_WIDTH, image.width), tags.get(_HEIGHT, image.height)
        # In a PNG without this entry, Pillow would decode to look for one behind the pixels.
        may_turn = image.format != "PNG" or "exif" in image.info
        if may_turn and image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8):
            width, height = height, width
        mode = _target_mode(image)
        channels = {"L": 1, "RGB": 3, "RGBA": 4}.get(mode, 1)
        dtype = np.dtype(np.uint8 if mode in ("L", "RGB", "RGBA") else np.float32)
        return Header(height, width, channels, dtype)


def decode(source: Source, name: str) -> NDArray[Any]:
    """Decode one picture as `read_image` does.

    Args:
        source: A path, or the bytes of a file.
        name: What to call it in a message.

    Raises:
        ImageError: As `read_image`.
    """
    with _opened(source, name) as image:
        tags = getattr(image, "tag_v2", {})
        values = _values(image)
        if values.dtype == np.uint8:
            return values
        bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
        whole = values.dtype.kind != "f"
        values = values.astype(np.float32)
        if whole:
            values /= np.float32(4095 if bits == 12 else 65_535)
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            found = "integers" if whole else "floats"
            raise ImageError(
                f"A gray picture must hold 8-bit or 16-bit values, or floats in [0, 1]; {name} "
                f"holds {found} outside that range. Scale it to 16 bits and save it again."
            )
        if tags.get(_PHOTOMETRIC) == 0:  # white is zero; Pillow turns only 8 bits round
            values = np.float32(1) - values
        return values


def read_exact(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Decode one picture file to the very integers that it holds.

    Palettes become the colors they stand for, and the EXIF orientation is applied.

    Args:
        path: The file; its content decides, not its name.

    Returns:
        uint8, or uint16 for 16-bit gray, of shape (height, width, channels) with 1, 3 or 4
        channels.

    Raises:
        ImageError: As `read_image`; or the picture holds floats.
    """
    name = printable(path)
    with _opened(Path(path), name) as image:
        white_is_zero = getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0
        values = _values(image)
        if values.dtype == np.uint8:
            return values
        if values.dtype.kind == "f" or values.min() < 0 or values.max() > _LARGEST:
            raise ImageError(
                f"A picture to keep exactly must hold integers of 8 or 16 bits; {name} holds "
                f"others. Scale it to 16 bits and save it again."
            )
        exact = values.astype(np.uint16)
        return np.uint16(_LARGEST) - exact if white_is_zero else exact


def _values(image: ImageFile.ImageFile) -> NDArray[Any]:
    """The values of an opened picture as they are, uint8 wherever they fit."""
    mode = _target_mode(image)
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    if mode in ("L", "RGB", "RGBA"):
        # Pillow converts premultiplied gray to nothing but LA.
        plain = image.convert("LA") if image.mode == "La" else image
        pixels = np.array(plain.convert(mode))
        return pixels.reshape(*pixels.shape[:2], -1)
    return np.asarray(image)[..., np.newaxis]


def write_image(
    path: str | os.PathLike[str], image: NDArray[np.uint8] | NDArray[np.uint16]
) -> None:
    """Write one picture as PNG, whole or not at all.

    Args:
        path: Where to; PNG whatever the name says.
        image: uint8; shape (height, width), or (height, width, channels) with 1, 3 or 4 channels;
            or uint16 with 1 channel.

    Raises:
        ImageError: The array is something else.
        OutputError: The file cannot be written.
    """
    picture = _to_pillow(image)
    with open_whole(path) as stream:
        picture.save(stream, format="PNG")


def encode_image(image: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """One picture as the bytes of a PNG file.

    Args:
        image: As in `write_image`.

    Raises:
        ImageError: The array is something else.
    """
    stream = io.BytesIO()
    _to_pillow(image).save(stream, format="PNG")
    return stream.getvalue()


def _to_pillow(image: NDArray[Any]) -> Image.Image:
    pixels = image[..., np.newaxis] if image.ndim == 2 else image
    channels = {np.dtype(np.uint8): CHANNELS, np.dtype(np.uint16): (1,)}.get(image.dtype, ())
    if pixels.ndim != 3 or pixels.shape[-1] not in channels or pixels.size == 0:
        raise ImageError(
            f"A picture to write must be uint8 of shape (height, width, 1, 3 or 4), or uint16 "
            f"with 1 channel; received {image.dtype} of shape {image.shape}. Convert it with "
            f"convae.images.to_uint8."
        )
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def _target_mode(image: Image.Image) -> str:
    """The mode to convert to: L, RGB, RGBA; or I;16 or F, whose values are taken as they are."""
    transparent = "transparency" in image.info
    if image.mode == "F":
        return "F"
    if image.mode in _GRAY_16_BIT and not transparent:
        return "I;16"
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or transparent:
        return "RGBA"
    if image.mode in ("1", "L"):
        return "L"
    if image.mode == "P":
        palette = np.array(image.getpalette() or [0, 0, 0]).reshape(-1, 3)
        return "L" if (palette == palette[:, :1]).all() else "RGB"
    return "RGB"


@contextlib.contextmanager
def _opened(source: Source, name: str) -> Iterator[ImageFile.ImageFile]:
    """Open a picture; inside the block, everything that Pillow raises becomes an ImageError."""
    with warnings.catch_warnings():
        # Pillow warns of what we check ourselves, and of metadata that we do not use.
        warnings.simplefilter("ignore")
        try:
            _check_file(source, name)
            # A stream even for a path: Pillow 13 maps a TIFF that it has a path of into memory,
            # and then reads it wrongly when the EXIF orientation swaps its sides.
            stream = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
            with stream, Image.open(stream, formats=FORMATS) as image:
                _check_header(image, name)
                yield image
        except ImageError:
            raise
        except UnidentifiedImageError as error:
            raise ImageError(
                f"A picture must be a PNG, JPEG, TIFF, BMP, WebP or GIF file; {name} holds "
                f"something else, or a kind of TIFF that cannot be read. "
                f"Save it again as PNG, or leave it out."
            ) from error
        except Image.DecompressionBombError as error:
            raise _too_large(f"{int(re.findall(r'[0-9]+', str(error))[0]):,}", name) from error
        except PermissionError as error:
            raise ImageError(
                f"A picture must be readable; opening {name} gave '{error.strerror}'. "
                f"Change its permissions, or leave it out."
            ) from error
        except Exception as error:  # a hostile file can make a decoder raise anything
            raise ImageError(
                f"A picture must be whole; decoding {name} gave '{error}'. "
                f"Copy it again from where it came, or leave it out."
            ) from error


def _check_file(source: Source, name: str) -> None:
    if isinstance(source, bytes):
        num_bytes = len(source)
    else:
        try:
            found = source.stat()
        except FileNotFoundError as error:
            raise ImageError(
                f"A picture must exist; there is nothing at {name}. Check the path."
            ) from error
        if not stat.S_ISREG(found.st_mode):
            kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a device or a pipe"
            raise ImageError(
                f"A picture must be a file; {name} is {kind}. Pass the path of a file."
            )
        num_bytes = found.st_size
    if num_bytes == 0:
        raise ImageError(
            f"A picture must hold data; {name} is empty. "
            f"Copy it again from where it came, or leave it out."
        )


def _check_header(image: ImageFile.ImageFile, name: str) -> None:
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise _too_large(f"{width * height:,}", name)
    if min(width, height) < SMALLEST_SIDE:
        raise ImageError(
            f"A picture must be {SMALLEST_SIDE} pixels or more on each side; {name} is {width} "
            f"wide and {height} high. Enlarge it, or leave it out."
        )
    tags = getattr(image, "tag_v2", {})
    if 2 in tags.get(_SAMPLE_FORMAT, ()):
        raise ImageError(
            f"A picture must hold unsigned values, or floats in [0, 1]; {name} holds signed "
            f"ones. Scale it to unsigned 16 bits and save it again."
        )
    bits = tags.get(_BITS_PER_SAMPLE, (8,))
    deep_tiff = len(bits) > 1 and max(bits) > 8
    deep_png = image.format == "PNG" and image.mode[0] != "I" and "16" in str(image.tile[0][3])
    # Pillow would silently keep only the upper 8 bits, or lose the alpha.
    if deep_tiff or deep_png or (image.mode[0] == "I" and "transparency" in image.info):
        raise ImageError(
            f"A color picture, or one with alpha, must have 8 bits for each channel; {name} has "
            f"{max(bits) if deep_tiff else 16}. Save it with 8 bits, or as gray with 16."
        )


def _too_large(num_pixels: str, name: str) -> ImageError:
    return ImageError(
        f"A picture must have at most {MOST_PIXELS:,} pixels; the header of {name} says "
        f"{num_pixels}. Make it smaller or cut it into tiles."
    )
