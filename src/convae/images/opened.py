"""Open one picture file safely, whatever is in it; what its values become is `pictures.py`'s."""

import contextlib
import ctypes
import functools
import io
import logging
import re
import stat
import struct
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image, ImageFile, UnidentifiedImageError, _imaging, features

from convae.errors import ImageError
from convae.storage.files import TILDE_REMEDY, printable

PICTURE_EXTENSIONS = (
    ".apng", ".avif", ".bmp", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".png",
    ".tif", ".tiff", ".webp",
)  # fmt: skip
KINDS = "PNG, JPEG, TIFF, BMP, WebP, GIF, AVIF or JPEG 2000"
# Nothing else that Pillow reads: each decoder is one more way in for a hostile file.
FORMATS = (
    "BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP",
    *(("AVIF",) if "avif" in features.modules and features.check_module("avif") else ()),
    *(("JPEG2000",) if features.check_codec("jpg_2000") else ()),
)  # fmt: skip
MOST_PIXELS = 64_000_000

Source = Path | bytes

# What these say of a damaged file comes as an exception too; unless a program listens to them,
# Python would write it to standard error.
for _library in ("PIL", "imagecodecs"):
    logging.getLogger(_library).addHandler(logging.NullHandler())

# Tags of EXIF and TIFF.
ORIENTATION = 274
WIDTH = 256
HEIGHT = 257
BITS_PER_SAMPLE = 258
PHOTOMETRIC = 262
SAMPLES_PER_PIXEL = 277
PLANAR_CONFIGURATION = 284
EXTRA_SAMPLES = 338
SAMPLE_FORMAT = 339
# A value of the planar configuration: each channel is stored as a plane of its own.
PLANES_APART = 2

_CHUNK = struct.Struct(">I4s")
# Those of a PNG that may say how the picture is turned.
_TURNING_CHUNKS = (b"eXIf", b"iTXt", b"tEXt", b"zTXt")
# The markers that begin and end JPEG 2000, and where its number of components is from the first.
_J2K_START = b"\xff\x4f\xff\x51"
_J2K_END = b"\xff\xd9"
_J2K_COMPONENTS = 40
_AVIF_BITS = (8, 8, 10, 12)


def tags(image: Image.Image) -> Any:  # noqa: ANN401 # a mapping of Pillow's without a type
    """The tags of a TIFF; of another picture none."""
    return getattr(image, "tag_v2", {})


def stored_size(image: Image.Image) -> tuple[int, int]:
    """Height and width as stored: newer versions of Pillow turn the size of a TIFF themselves."""
    found = tags(image)
    return found.get(HEIGHT, image.height), found.get(WIDTH, image.width)


def orientation(image: ImageFile.ImageFile) -> int:
    """How the picture is turned, from 1 (not) to 8, as EXIF numbers it.

    Decodes nothing, except a PNG that may say it behind the pixels.
    """
    if image.format == "PNG":
        if _says_more_later(image):
            image.load()
        # The method of PNG would decode every picture.
        found = Image.Image.getexif(image).get(ORIENTATION, 1)
    else:
        found = image.getexif().get(ORIENTATION, 1)
    return found if found in range(1, 9) else 1


def _says_more_later(image: ImageFile.ImageFile) -> bool:
    """Whether a PNG has metadata behind its pixels, by the heads of its chunks."""
    stream = image.fp
    if stream is None:  # decoded already
        return False
    before = stream.tell()
    try:
        stream.seek(8)
        seen_pixels = False
        while len(head := stream.read(_CHUNK.size)) == _CHUNK.size:
            length, kind = _CHUNK.unpack(head)
            if kind == b"IEND":
                return False
            seen_pixels |= kind == b"IDAT"
            if seen_pixels and kind in _TURNING_CHUNKS:
                return True
            stream.seek(length + 4, io.SEEK_CUR)
        return False
    finally:
        stream.seek(before)


def has_more_frames(image: ImageFile.ImageFile) -> bool:
    """Whether there are frames or pages behind the first."""
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # there is a second frame, and it is damaged
        return True


def bits_in_color(image: ImageFile.ImageFile) -> int:
    """Bits of each channel of a picture with several channels; 8 for every other picture.

    Pillow would keep only the upper 8.
    """
    if image.format == "TIFF":
        bits = tags(image).get(BITS_PER_SAMPLE, (8,))
        return max(8, *bits) if len(bits) > 1 else 8
    if image.format == "PNG":
        return 16 if image.mode[0] != "I" and "16" in str(image.tile[0][3]) else 8
    if image.format == "JPEG2000" and image.mode[0] != "I":
        return _bits_of_jpeg_2000(file_bytes(image))
    if image.format == "AVIF":
        found = re.finditer(rb"av1C..(.)", file_bytes(image), re.DOTALL)
        # The bits for "more than 8" and "12".
        return max((_AVIF_BITS[match[1][0] >> 5 & 3] for match in found), default=8)
    return 8


def _bits_of_jpeg_2000(data: bytes) -> int:
    start = data.find(_J2K_START)
    sizes = data[start + _J2K_COMPONENTS :]
    if start < 0 or len(sizes) < 2:
        return 8
    depths = sizes[2 : 2 + 3 * int.from_bytes(sizes[:2], "big") : 3]
    return max(8, 8, *(1 + (depth & 0x7F) for depth in depths))


def file_bytes(image: ImageFile.ImageFile) -> bytes:
    """The whole file of a picture that is not decoded yet."""
    stream = image.fp
    if stream is None:
        return b""
    before = stream.tell()
    stream.seek(0)
    data = bytes(stream.read())
    stream.seek(before)
    return data


@contextlib.contextmanager
def opened(source: Source, name: str) -> Iterator[ImageFile.ImageFile]:
    """Open a picture; inside the block, everything that Pillow raises becomes an ImageError.

    Args:
        source: A path, or the bytes of a file.
        name: What to call it in a message.

    Raises:
        ImageError: The file is missing, no picture, damaged, or of more than 64 million pixels.
    """
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
                f"A picture must be a {KINDS} file; {name} holds something else, or a kind of "
                f"TIFF that cannot be read. Save it again as PNG, or leave it out."
            ) from error
        except Image.DecompressionBombError as error:
            raise _too_large(f"{int(re.findall(r'[0-9]+', str(error))[0]):,}", name) from error
        except PermissionError as error:
            raise _unreadable(error, name) from error
        except Exception as error:  # a hostile file can make a decoder raise anything
            raise damaged(error, name) from error


def load(image: ImageFile.ImageFile, name: str) -> None:
    """Decode an opened picture.

    Raises:
        ImageError: It is a TIFF in which libtiff found damage that Pillow passes over.
    """
    if image.format != "TIFF":
        image.load()
        return
    _hear_libtiff()
    _said.lines = []
    image.load()
    if _said.lines:
        raise damaged(_said.lines[0], name)


def damaged(error: object, name: str) -> ImageError:
    """What to raise when a picture is no whole one."""
    return ImageError(
        f"A picture must be whole; decoding {name} gave '{error}'. "
        f"Copy it again from where it came, or leave it out."
    )


_said = threading.local()
_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)


def _keep_error(module: bytes | None, text: bytes | None, _: int | None) -> None:
    """Keep what libtiff says; the values that its text has places for are not looked up."""
    words = b": ".join(part for part in (module, text) if part).decode("ascii", "replace")
    plain = re.sub(r"\s*\(?%[^\s)]*\)?", "", words.partition(" at line")[0])
    if not hasattr(_said, "lines"):
        _said.lines = []
    _said.lines.append(f"libtiff: {plain}")


# Held here: libtiff calls it as long as the process lives.
_KEEP_ERROR = _HANDLER(_keep_error)


@functools.cache
def _hear_libtiff() -> None:
    """Have Pillow's libtiff tell us of errors, which it would write to standard error itself."""
    try:
        setter = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
    except (AttributeError, OSError, TypeError):  # built in another way
        return
    setter.argtypes, setter.restype = [_HANDLER], ctypes.c_void_p
    setter(_KEEP_ERROR)


def _unreadable(error: OSError, name: str) -> ImageError:
    remedy = "Change its permissions" if isinstance(error, PermissionError) else "Check the path"
    return ImageError(
        f"A picture must be readable; opening {name} gave '{error.strerror}'. "
        f"{remedy}, or leave it out."
    )


def _check_file(source: Source, name: str) -> None:
    if isinstance(source, bytes):
        num_bytes = len(source)
    else:
        try:
            found = source.stat()
        except FileNotFoundError as error:
            raise ImageError(
                f"A picture must exist; there is nothing at {name}. {path_remedy(source)}"
            ) from error
        except OSError as error:  # a loop of links, a path that is too long
            raise _unreadable(error, name) from error
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


def path_remedy(path: object, usual: str = "Check the path.") -> str:
    """What to do about a path where nothing is."""
    text = str(path)
    if text.startswith("~"):
        return TILDE_REMEDY
    if pattern := next((sign for sign in "*?[" if sign in text), None):
        return (
            f"A pattern with {printable(pattern)} is not expanded here: pass the folder, whose "
            f"pictures are all read."
        )
    return usual


def _check_header(image: ImageFile.ImageFile, name: str) -> None:
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise _too_large(f"{width * height:,}", name)
    if image.format == "PNG" and not image.tile:
        raise damaged("no pixels", name)
    if image.format == "JPEG2000" and _J2K_END not in file_bytes(image).partition(_J2K_START)[2]:
        raise damaged("no end", name)
    if 2 in tags(image).get(SAMPLE_FORMAT, ()):
        raise ImageError(
            f"A picture must hold unsigned values, or floats in [0, 1]; {name} holds signed "
            f"ones. Scale it to unsigned 16 bits and save it again."
        )
    if image.mode[0] == "I" and "transparency" in image.info:  # Pillow would lose the alpha
        raise ImageError(
            f"A gray picture with one transparent value must have 8 bits; {name} has 16. "
            f"Save it with 8 bits, or without the transparent value."
        )


def _too_large(num_pixels: str, name: str) -> ImageError:
    return ImageError(
        f"A picture must have at most {MOST_PIXELS:,} pixels; the header of {name} says "
        f"{num_pixels}. Make it smaller or cut it into tiles."
    )
