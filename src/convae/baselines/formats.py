"""Sizes of the same images in other lossless formats, to compare an archive with."""

import bz2
import importlib.util
import io
import lzma
import math
import zlib
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# What Pillow writes losslessly; of WebP its slowest and best.
PICTURES: dict[str, dict[str, Any]] = {
    "PNG": {"format": "PNG", "optimize": True},
    "WebP": {"format": "WEBP", "lossless": True, "quality": 100, "method": 6},
}
PER_IMAGE, ONE_STREAM = "one file an image", "one stream"
# The longest side that a format can hold.
LONGEST = {"WebP": 16_383, "AVIF": 65_536}
# Slow settings; on a large picture they would take minutes for a few per cent.
JPEG_XL_EFFORT, AVIF_SPEED = 9, 6
MOST_PIXELS_SLOWLY = 1 << 18
QUICKER_JPEG_XL_EFFORT, QUICKER_AVIF_SPEED = 7, 8


class FormatSizes:
    """Counts the bytes of lossless peers for the images that it is shown.

    A peer in one stream cannot give an image without decoding all before it.
    """

    def __init__(self) -> None:
        self._num_bytes: Counter[str] = Counter()
        self._num_images = 0
        self._newer = newer_formats()
        self._kept: Counter[str] = Counter()
        self._open: dict[str, Any] = {
            "zlib": zlib.compressobj(9),
            "bz2": bz2.BZ2Compressor(9),
            "xz": lzma.LZMACompressor(preset=9),
        }

    def add(self, images: NDArray[Any]) -> None:
        """Count images.

        Args:
            images: uint8 or uint16 `(num_images, height, width, channels)`.
        """
        for image in images:
            data = image.tobytes()
            sizes = {
                "zlib": len(zlib.compress(data, 9)),
                "bz2": len(bz2.compress(data, 9)),
                "xz": len(lzma.compress(data, filters=xz_filters(len(data)))),
                **(picture_sizes(image, self._newer) if image.shape[2] != 2 else {}),
            }
            for name, size in sizes.items():
                self._num_bytes[f"{name}, {PER_IMAGE}"] += size
                self._kept[f"{name}, {PER_IMAGE}"] += 1
            for name, stream in self._open.items():
                self._num_bytes[f"{name}, {ONE_STREAM}"] += len(stream.compress(data))
        self._num_images += len(images)

    def finish(self) -> dict[str, int]:
        """Bytes by peer, the fewest first; nothing can be added any more.

        Those that could not keep all images (WebP and AVIF have no 16 bits) are left out.
        """
        for name, stream in self._open.items():
            self._num_bytes[f"{name}, {ONE_STREAM}"] += len(stream.flush())
            self._kept[f"{name}, {ONE_STREAM}"] = self._num_images
        whole = {
            name: size
            for name, size in self._num_bytes.items()
            if self._kept[name] == self._num_images
        }
        return dict(sorted(whole.items(), key=lambda item: item[1]))


def xz_filters(num_bytes: int) -> list[dict[str, int]]:
    """The best level of xz, with no more memory than such data can use: 64 MiB are slow."""
    dict_size = min(max(num_bytes, 4096), 1 << 26)
    return [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": dict_size}]


def picture_sizes(image: NDArray[Any], newer: bool) -> dict[str, int]:
    """Bytes of one image as a picture file, by format; those that cannot hold it are left out.

    Args:
        image: uint8 or uint16 `(height, width, channels)`, of 1, 3 or 4 channels.
        newer: Whether JPEG XL and AVIF are counted.
    """
    pixels = np.ascontiguousarray(image[..., 0] if image.shape[2] == 1 else image)
    files = newer_files(pixels) if newer else {}
    sizes = {name: len(file) for name, file in files.items()}
    if pixels.dtype == np.uint16 and pixels.ndim == 3:
        return sizes
    picture = Image.fromarray(pixels)
    for name, options in PICTURES.items():
        if name == "PNG" or (pixels.dtype == np.uint8 and _fits(pixels, name)):
            stream = io.BytesIO()
            picture.save(stream, **options)
            sizes[name] = stream.tell()
    return sizes


def _fits(pixels: NDArray[Any], name: str) -> bool:
    longest: int = max(pixels.shape[:2])
    return longest <= LONGEST[name]


def newer_formats() -> bool:
    """Whether JPEG XL and AVIF can be written, which needs the extra `formats`."""
    return importlib.util.find_spec("imagecodecs") is not None


def newer_files(pixels: NDArray[Any]) -> dict[str, bytes]:
    """One image as JPEG XL and, of 8 bits, as AVIF.

    Args:
        pixels: uint8 or uint16, in C order, `(height, width)`, or with 3 or 4 channels at the end.
    """
    import imagecodecs

    quickly = pixels.shape[0] * pixels.shape[1] > MOST_PIXELS_SLOWLY
    effort = QUICKER_JPEG_XL_EFFORT if quickly else JPEG_XL_EFFORT
    speed = QUICKER_AVIF_SPEED if quickly else AVIF_SPEED
    files = {"JPEG XL": imagecodecs.jpegxl_encode(pixels, lossless=True, effort=effort)}
    if pixels.dtype == np.uint8 and _fits(pixels, "AVIF"):
        if pixels.ndim == 2:
            # Luma alone is kept exactly so, and in fewer bytes than as three equal channels.
            stream = io.BytesIO()
            Image.fromarray(pixels).save(stream, "AVIF", quality=100, speed=speed)
            files["AVIF"] = stream.getvalue()
        else:
            files["AVIF"] = imagecodecs.avif_encode(pixels, level=100, speed=speed)
    return {name: bytes(file) for name, file in files.items()}


def break_even(model_bytes: int, ours: float, peer: float) -> int | None:
    """The number of images from which the model pays for itself; None if it never does.

    Args:
        model_bytes: What is needed once.
        ours: Bytes per image.
        peer: Bytes per image of the peer.
    """
    return math.ceil(model_bytes / (peer - ours)) if peer > ours else None
