"""A large picture as tiles of one size and back: so that coding it takes memory for a few of them.

docs/archive.md states what a reader bounds; it holds here for a writer as well.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from convae.coding.blocks import (
    LARGEST_SIDE,
    LONGEST_NAME,
    MOST_IMAGES,
    MOST_WAVES,
    Block,
    Method,
    refused,
)
from convae.coding.waves import num_waves
from convae.errors import ImageError

MOST_PIXELS = 1 << 26
# A larger picture is cut into tiles.
MOST_BYTES_WHOLE = 1 << 20
# Sides of a tile at most. At the edges of tiles less is known of what is near: a photograph takes
# 0.4% more bytes than whole, and with 256 it takes 0.6% more. Longer sides make coding slower.
TILE_SIDE = 384

_HEADER = struct.Struct("<BBHIIIIII")
LONGEST_PICTURE = _HEADER.size + 4 * LONGEST_NAME


@dataclass(frozen=True, slots=True)
class Tiling:
    """How a picture is cut into tiles of one size, row by row.

    The last tiles of a row or a column may reach beyond the picture, and repeat its edge there.

    Args:
        height: Rows of the picture.
        width: Columns of the picture.
        tile_height: Rows of a tile, at most those of the picture.
        tile_width: Columns of a tile, at most those of the picture.
    """

    height: int
    width: int
    tile_height: int
    tile_width: int

    @classmethod
    def of(cls, height: int, width: int) -> Self:
        """The tiling that a writer chooses, with little beyond the picture."""
        sides = (-(-side // -(-side // TILE_SIDE)) for side in (height, width))
        return cls(height, width, *sides)

    @property
    def columns(self) -> int:
        """Tiles beside each other."""
        return -(-self.width // self.tile_width)

    @property
    def num_tiles(self) -> int:
        """Tiles in all."""
        return -(-self.height // self.tile_height) * self.columns

    def cut(self, picture: NDArray[Any], part: slice) -> NDArray[Any]:
        """Some tiles of a picture `(height, width, channels)`.

        Returns:
            An array of its type, `(num_tiles, tile_height, tile_width, channels)`.
        """
        shape = part.stop - part.start, self.tile_height, self.tile_width, picture.shape[2]
        tiles = np.empty(shape, picture.dtype)
        for tile, (rows, columns) in zip(tiles, self._places(part), strict=True):
            own = picture[rows, columns]
            height, width = own.shape[:2]
            tile[:height, :width] = own
            tile[:height, width:] = own[:, -1:]
            tile[height:] = tile[height - 1]
        return tiles

    def put(self, picture: NDArray[Any], first: int, tiles: NDArray[Any]) -> None:
        """Put tiles, from the one of that number on, to their places in a picture."""
        places = self._places(slice(first, first + len(tiles)))
        for tile, (rows, columns) in zip(tiles, places, strict=True):
            own = picture[rows, columns]
            own[...] = tile[: own.shape[0], : own.shape[1]]

    def _places(self, part: slice) -> Iterator[tuple[slice, slice]]:
        """Rows and columns of tiles; they may reach beyond the picture."""
        for number in range(part.start, part.stop):
            row, column = divmod(number, self.columns)
            yield (
                slice(row * self.tile_height, (row + 1) * self.tile_height),
                slice(column * self.tile_width, (column + 1) * self.tile_width),
            )


@dataclass(frozen=True, slots=True)
class Picture:
    """What an archive says of a picture in tiles, before the blocks of these.

    Args:
        tiling: Its size and that of its tiles.
        bits: Of a value: 8 or 16.
        channels: From 1 to 4.
        num_blocks: Over how many blocks the tiles are shared out.
        pixels_crc: CRC-32 of the picture's values, little-endian.
        name: Its name, if it has one.
    """

    tiling: Tiling
    bits: int
    channels: int
    num_blocks: int
    pixels_crc: int
    name: str = ""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return self.tiling.height, self.tiling.width, self.channels

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the values."""
        return np.dtype(np.uint16 if self.bits == 16 else np.uint8)

    @property
    def num_bytes(self) -> int:
        """What the picture takes in memory."""
        return self.tiling.height * self.tiling.width * self.channels * self.bits // 8

    @property
    def names(self) -> tuple[str, ...]:
        """The name, or none."""
        return (self.name,) if self.name else ()

    def to_bytes(self) -> bytes:
        """The contents of its record."""
        tiling = self.tiling
        head = _HEADER.pack(
            self.bits, self.channels, 0, tiling.height, tiling.width, tiling.tile_height,
            tiling.tile_width, self.num_blocks, self.pixels_crc,
        )  # fmt: skip
        return head + self.name.encode("utf-8", "surrogateescape")

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`; the bytes may be hostile.

        Raises:
            ModelFileError: They break a rule.
        """
        if len(data) < _HEADER.size:
            raise refused(f"a picture of {len(data)} bytes")
        bits, channels, zero, height, width, *tile, num_blocks, crc = _HEADER.unpack_from(data)
        if bits not in (8, 16) or not 1 <= channels <= 4 or zero:
            raise refused(f"a picture of {channels} channels, {bits} bits and {zero}")
        if not 1 <= height * width <= MOST_PIXELS:
            raise refused(f"a picture of {height} x {width} pixels")
        if not (1 <= tile[0] <= min(height, LARGEST_SIDE) and 1 <= tile[1] <= width) or (
            tile[1] > LARGEST_SIDE
        ):
            raise refused(f"tiles of {tile[0]} x {tile[1]} in a picture of {height} x {width}")
        tiling = Tiling(height, width, *tile)
        if not -(-tiling.num_tiles // MOST_IMAGES) <= num_blocks <= tiling.num_tiles:
            raise refused(f"{num_blocks} blocks of {tiling.num_tiles} tiles")
        name = data[_HEADER.size :].decode("utf-8", "surrogateescape")
        if len(name) > LONGEST_NAME or "\0" in name:
            raise refused(f"{name!r:.100} as the name of a picture")
        return cls(tiling, bits, channels, num_blocks, crc, name)

    def checked(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """The same blocks.

        Raises:
            ModelFileError: They are not those of the tiles of this picture.
        """
        tiling, num_tiles = self.tiling, 0
        shape = tiling.tile_height, tiling.tile_width, self.channels
        step = None
        for block in blocks:
            kind = block.kind
            step = step or kind.step
            if (kind.shape[1:], kind.bits, kind.step) != (shape, self.bits, step):
                raise refused(f"a block of shape {kind.shape} in a picture of tiles of {shape}")
            if kind.method is Method.LATENTS or block.names:
                raise refused("a block of latents or with names in a picture")
            num_tiles += kind.num_images
            if num_tiles > tiling.num_tiles:
                break
            yield block
        if num_tiles != tiling.num_tiles:
            raise refused(f"{num_tiles} tiles or more in a picture of {tiling.num_tiles}")


def is_cut(images: NDArray[Any]) -> bool:
    """Whether images `(num_images, height, width, channels)` are coded in tiles, each by itself.

    Raises:
        ImageError: They are larger than what an archive can hold.
    """
    _, height, width, _ = images.shape
    if height * width > MOST_PIXELS:
        raise ImageError(
            f"An image to compress must have at most {MOST_PIXELS:,} pixels; received one of "
            f"{height:,} x {width:,}. Cut it into parts, or make it smaller."
        )
    return (
        images[0].nbytes > MOST_BYTES_WHOLE
        or max(height, width) > LARGEST_SIDE
        or num_waves(height, width) > MOST_WAVES
    )
