"""Read and write one picture file; what is done with many of them is `convae.images.folders`.

Color profiles are not applied, and only the first frame or page is read.
"""

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from convae.errors import ImageError, MissingExtraError
from convae.images.opened import (
    BITS_PER_SAMPLE,
    EXTRA_SAMPLES,
    PHOTOMETRIC,
    PICTURE_EXTENSIONS,
    PLANAR_CONFIGURATION,
    PLANES_APART,
    SAMPLES_PER_PIXEL,
    Source,
    bits_in_color,
    damaged,
    file_bytes,
    has_more_frames,
    load,
    opened,
    orientation,
    stored_size,
    tags,
)
from convae.images.resize import CHANNELS, SMALLEST_SIDE
from convae.storage.files import open_whole, printable

__all__ = [
    "PICTURE_EXTENSIONS",
    "Header",
    "Source",
    "decode",
    "decode_exact",
    "encode_image",
    "read_exact",
    "read_header",
    "read_image",
    "write_image",
]

_LARGEST = 65_535
_LARGEST_12_BIT = 4095

_GRAY_16_BIT = ("I", "I;16", "I;16B", "I;16L", "I;16N")
# What Pillow opens these as holds the values of the file; other modes are computed from others.
_EXACT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", *_GRAY_16_BIT)


@dataclass(frozen=True, slots=True)
class Header:
    """What a picture file says of itself before it is decoded.

    Args:
        height: Rows, in pixels, 8 or more.
        width: Columns, in pixels, 8 or more.
        channels: 1 (gray), 3 (RGB) or 4 (RGBA).
        dtype: What it decodes to: uint8, or float32 for 16 bits.
        more_frames: Whether there are frames or pages behind the first.
    """

    height: int
    width: int
    channels: int
    dtype: np.dtype[Any]
    more_frames: bool = False


def read_image(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Decode one picture file: PNG, JPEG, TIFF, BMP, WebP, GIF, AVIF or JPEG 2000.

    The EXIF orientation is applied. Palettes become the colors they stand for, CMYK becomes
    RGB, gray with alpha becomes RGBA. Values of 16 bits are divided by 65,535. Color of 16 bits
    takes the extra `formats`.

    Args:
        path: The file; its content decides, not its name.

    Returns:
        Shape (height, width, channels) with 1, 3 or 4 channels; uint8, or float32 in [0, 1] for
        16 bits and for floating-point gray.

    Raises:
        ImageError: The file is missing, no picture, damaged, smaller than 8 pixels, larger than
            64 million pixels, or holds values that would have to be cut.
    """
    return decode(Path(path), printable(path))


def read_header(source: Source, name: str) -> Header:
    """Look at a picture without decoding it, except a PNG that has metadata behind its pixels.

    Args:
        source: A path, or the bytes of a file.
        name: What to call it in a message.

    Raises:
        ImageError: As `read_image`.
    """
    with opened(source, name) as image:
        _check_sides(image, name)
        height, width = stored_size(image)
        deep, mode = _check_deep(image, name) > 8, _target_mode(image)
        if orientation(image) >= 5:
            width, height = height, width
        channels = {"L": 1, "RGB": 3, "RGBA": 4}.get(mode, 1)
        plain = mode in ("L", "RGB", "RGBA") and not deep
        dtype = np.dtype(np.uint8 if plain else np.float32)
        return Header(height, width, channels, dtype, has_more_frames(image))


def decode(source: Source, name: str) -> NDArray[Any]:
    """Decode one picture as `read_image` does.

    Args:
        source: A path, or the bytes of a file.
        name: What to call it in a message.

    Raises:
        ImageError: As `read_image`.
    """
    with opened(source, name) as image:
        _check_sides(image, name)
        found = tags(image)
        values = _values(image, name)
        if values.dtype == np.uint8:
            return values
        whole = values.dtype.kind != "f"
        largest = _LARGEST_12_BIT if _has_12_bits(image) else _LARGEST
        values = values.astype(np.float32)
        if whole:
            values /= np.float32(largest)
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            kind = "integers" if whole else "floats"
            raise ImageError(
                f"A gray picture must hold 8-bit or 16-bit values, or floats in [0, 1]; {name} "
                f"holds {kind} outside that range. Scale it to 16 bits and save it again."
            )
        if found.get(PHOTOMETRIC) == 0:  # white is zero; Pillow turns only 8 bits round
            values = np.float32(1) - values
        return values


def read_exact(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Decode one picture file, of any size, to the very integers that it holds.

    Palettes become the colors they stand for, and the EXIF orientation is applied. Gray with alpha
    becomes RGBA, and gray of 12 bits is scaled to 16, so that 4,095 becomes 65,535; both can be
    undone. A JPEG holds what decoding it gives. Color of 16 bits takes the extra `formats`.

    Args:
        path: The file; its content decides, not its name.

    Returns:
        uint8, or uint16 for 12 and 16 bits, of shape (height, width, channels) with 1, 3 or 4
        channels.

    Raises:
        ImageError: The file is missing, no picture, damaged, or larger than 64 million pixels; or
            8 or 16 bits of gray or RGB cannot hold it exactly: floats, CMYK, or colors multiplied
            by alpha.
    """
    return decode_exact(Path(path), printable(path))[0]


def decode_exact(source: Source, name: str) -> tuple[NDArray[Any], bool]:
    """Decode one picture as `read_exact` does.

    Args:
        source: A path, or the bytes of a file.
        name: What to call it in a message.

    Returns:
        The picture, and whether there are frames or pages behind it.

    Raises:
        ImageError: As `read_exact`.
    """
    with opened(source, name) as image:
        _check_exact(image, name)
        white_is_zero = tags(image).get(PHOTOMETRIC) == 0
        has_12_bits = _has_12_bits(image)
        values = _values(image, name)
        more_frames = has_more_frames(image)
        if values.dtype == np.uint8:
            return values, more_frames
        if values.min() < 0 or values.max() > _LARGEST:
            raise ImageError(
                f"A picture to keep exactly must hold integers of 8 or 16 bits; {name} holds "
                f"others. Scale it to 16 bits and save it again."
            )
        exact = values.astype(np.uint16)
        if has_12_bits:
            scaled = exact.astype(np.uint32) * _LARGEST + _LARGEST_12_BIT // 2
            exact = (scaled // _LARGEST_12_BIT).astype(np.uint16)
        return np.uint16(_LARGEST) - exact if white_is_zero else exact, more_frames


def _check_sides(image: ImageFile.ImageFile, name: str) -> None:
    width, height = image.size
    if min(width, height) < SMALLEST_SIDE:
        raise ImageError(
            f"A picture must be {SMALLEST_SIDE} pixels or more on each side; {name} is {width} "
            f"wide and {height} high. Enlarge it, or leave it out."
        )


def _check_exact(image: ImageFile.ImageFile, name: str) -> None:
    found = tags(image)
    num_samples = found.get(SAMPLES_PER_PIXEL, 1)
    what = ""
    if image.mode == "F":
        what = "holds floats"
    elif image.mode in ("La", "RGBa") or 1 in found.get(EXTRA_SAMPLES, ()):
        what = "holds colors multiplied by its alpha"
    elif image.mode not in _EXACT_MODES:
        what = f"is {image.mode}"
    elif num_samples > len(image.getbands()):
        what = f"has {num_samples} channels, not all of them color or alpha"
    if what:
        raise ImageError(
            f"A picture to keep exactly must be gray or RGB of 8 or 16 bits, with or without "
            f"alpha; {name} {what}. Save it as RGB, or leave it out."
        )


def _check_deep(image: ImageFile.ImageFile, name: str) -> int:
    """The bits of color, as `bits_in_color` gives them, where we can read so many."""
    bits = bits_in_color(image)
    if bits == 8:
        return bits
    rule = "A color picture, or one with alpha, must have 8 bits for each channel, or 16"
    multiplied = 1 in tags(image).get(EXTRA_SAMPLES, ())
    if bits != 16 or multiplied or "transparency" in image.info:
        what = {True: "colors multiplied by its alpha"}.get(multiplied, f"{bits} bits")
        if bits == 16 and not multiplied:
            what = "16 bits and one transparent color"
        raise ImageError(f"{rule}; {name} has {what}. Save it with 8 bits, or as gray with 16.")
    try:
        import imagecodecs  # noqa: F401 # whether it is there
    except ImportError as error:
        raise ImageError(
            f"{rule}, which takes an optional package to read; {name} has 16. Save it with 8 bits, "
            f'or as gray with 16, or install the package: pip install "convae[formats]"'
        ) from error
    return bits


def _values(image: ImageFile.ImageFile, name: str) -> NDArray[Any]:
    """The values of an opened picture as they are, uint8 wherever they fit."""
    if _check_deep(image, name) > 8:
        return _deep_values(image, name)
    mode = _target_mode(image)
    load(image, name)
    ImageOps.exif_transpose(image, in_place=True)
    if mode in ("L", "RGB", "RGBA"):
        # Pillow converts premultiplied gray to nothing but LA.
        plain = image.convert("LA") if image.mode == "La" else image
        pixels = np.array(plain.convert(mode))
        return pixels.reshape(*pixels.shape[:2], -1)
    return np.asarray(image)[..., np.newaxis]


def _deep_values(image: ImageFile.ImageFile, name: str) -> NDArray[np.uint16]:
    """A picture with 16 bits in each of 3 or 4 channels, of which Pillow would keep 8."""
    import imagecodecs

    decoders = {
        "PNG": imagecodecs.png_decode,
        "TIFF": imagecodecs.tiff_decode,
        "JPEG2000": imagecodecs.jpeg2k_decode,
    }
    size, mode, data = stored_size(image), _target_mode(image), file_bytes(image)
    turn, found = orientation(image), tags(image)
    values = np.asarray(decoders[str(image.format)](data))
    if found.get(PLANAR_CONFIGURATION) == PLANES_APART:
        values = np.moveaxis(values, 0, -1)
    if values.shape == (*size, 2):
        values = np.concatenate([values[..., :1]] * 3 + [values[..., 1:]], axis=-1)
    if values.dtype != np.uint16 or values.shape != (*size, {"RGB": 3}.get(mode, 4)):
        raise damaged(f"{values.dtype} of shape {values.shape}", name)
    return np.ascontiguousarray(_turned(values, turn))


def _turned(values: NDArray[Any], turn: int) -> NDArray[Any]:
    """A picture (height, width, channels) as it should be seen, by its EXIF orientation."""
    if turn >= 5:
        values = values.swapaxes(0, 1)
    if turn in (3, 4, 7, 8):
        values = values[::-1]
    if turn in (2, 3, 6, 7):
        values = values[:, ::-1]
    return values


def _has_12_bits(image: ImageFile.ImageFile) -> bool:
    return bool(tags(image).get(BITS_PER_SAMPLE, (16,))[0] == 12)


def write_image(
    path: str | os.PathLike[str], image: NDArray[np.uint8] | NDArray[np.uint16]
) -> None:
    """Write one picture as PNG, whole or not at all.

    Args:
        path: Where to; PNG whatever the name says.
        image: uint8; shape (height, width), or (height, width, channels) with 1, 3 or 4 channels;
            or uint16 of the same shapes, which with 3 or 4 channels takes the extra `formats`.

    Raises:
        ImageError: The array is something else.
        MissingExtraError: It has 16 bits in color, and imagecodecs is not installed.
        OutputError: The file cannot be written.
    """
    data = encode_image(image)
    with open_whole(path) as stream:
        stream.write(data)


def encode_image(image: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """One picture as the bytes of a PNG file.

    Args:
        image: As in `write_image`.

    Raises:
        ImageError: The array is something else.
        MissingExtraError: As `write_image`.
    """
    pixels = image[..., np.newaxis] if image.ndim == 2 else image
    kinds = (np.dtype(np.uint8), np.dtype(np.uint16))
    shaped = pixels.ndim == 3 and pixels.shape[-1] in CHANNELS and pixels.size > 0
    if image.dtype not in kinds or not shaped:
        raise ImageError(
            f"A picture to write must be uint8 or uint16 of shape (height, width, 1, 3 or 4); "
            f"received {image.dtype} of shape {image.shape}. Convert it with "
            f"convae.images.to_uint8."
        )
    if pixels.dtype == np.uint16 and pixels.shape[-1] > 1:
        try:
            from imagecodecs import png_encode
        except ImportError as error:
            raise MissingExtraError("Writing color of 16 bits as PNG", "formats") from error
        # A copy: of a contiguous part of one pixel, imagecodecs refuses the strides.
        return bytes(png_encode(np.array(pixels)))
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(stream, format="PNG")
    return stream.getvalue()


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
