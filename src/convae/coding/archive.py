"""The archive: blocks of images one after the other, an index, and the name of what coded them.

A large picture is in several blocks, of tiles, behind a record that says how they make it up.

docs/archive.md states the format. Every record has a checksum, lengths are bounded before memory is
taken, and an archive without its end is refused, so what comes out is what went in, or an error.
"""

import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from convae.coding.blocks import (
    BLOCK_BYTES,
    MOST_IMAGES,
    Block,
    Kind,
    Model,
    decode_blocks,
    encode_blocks,
    encode_latents,
)
from convae.coding.contextmodel import ContextModel
from convae.coding.grouping import blocks_together, images_a_block, parts_together
from convae.coding.latents import Codes, LatentModel
from convae.coding.packing import checksum
from convae.coding.records import (
    BLOCK,
    HEADER,
    INDEX,
    MAGIC,
    MODEL,
    PICTURE,
    RECORD_HEAD_BYTES,
    RecordFile,
    framed,
    trailer,
)
from convae.coding.threads import Run, threads
from convae.coding.tiling import LONGEST_PICTURE, Picture, Tiling, is_cut
from convae.errors import ModelFileError, ParameterError
from convae.storage.files import printable

# Pictures in tiles came with version 2; what has none is written as version 1.
FORMAT_VERSION, FIRST_VERSION = 2, 1
IDENTITY_BYTES = 32
LONGEST_MODEL_NAME = 200
# Blocks decoded together hold at most this many bytes of images, give or take one block.
GROUP_BYTES = 1 << 23
# So many bytes of tiles are coded or decoded together: there are fewer of them, which makes waves
# shorter.
GROUP_BYTES_OF_TILES = 1 << 24

_ENTRY = struct.Struct("<QI")
_SORTS: dict[type[Model], bytes] = {ContextModel: b"C", LatentModel: b"L"}


def packed(model: Model) -> bytes:
    """A model as it stands in an archive: a byte for its sort, and its tables."""
    sort = _SORTS[type(model)]
    return sort + model.pack()


def _unpacked(data: bytes) -> Model:
    for kind, sort in _SORTS.items():
        if data[:1] == sort:
            return kind.unpack(data[1:])
    raise ParameterError(f"A packed model must be of a known sort; received {data[:1]!r}.")


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a block is that is no picture's, or a picture in tiles.

    Args:
        offset: Of its record, from the beginning of the file.
        num_images: How many it holds; a picture is 1.
    """

    offset: int
    num_images: int


@dataclass(eq=False)
class ArchiveWriter:
    """Writes an archive to an open file, block after block, in memory that does not grow.

    Args:
        stream: Where to.
        model: What codes the images.
        model_name: What a message calls the model that decoding needs, in print.
        with_model: Put the model into the archive.

    Raises:
        ParameterError: The model is to be put there, and is too large for that.
    """

    stream: BinaryIO
    model: Model
    model_name: str
    with_model: bool = False
    num_raw_bytes: int = 0
    num_values: int = 0
    _entries: list[Entry] = field(default_factory=list)
    _offset: int = 0
    _has_pictures: bool = False

    def __post_init__(self) -> None:
        model = packed(self.model) if self.with_model else b""
        if model:
            _unpacked(model)  # what a reader refuses is not written
        self._start = self.stream.tell()
        self._write(MAGIC)
        self._write(self._header())
        if model:
            self._record(MODEL, model)

    @property
    def num_images(self) -> int:
        """Images written so far."""
        return sum(entry.num_images for entry in self._entries)

    def add(self, images: NDArray[Any], names: Sequence[str] = (), step: int = 1) -> None:
        """Write images of one size.

        Args:
            images: uint8 or uint16 `(num_images, height, width, channels)`, multiples of the step.
            names: One for each image, or none.
            step: All values are multiples of it.
        """
        model = self.model
        if not isinstance(model, ContextModel):
            raise TypeError("An archive of latents takes latents.")
        with threads() as run:
            if is_cut(images):
                for index, image in enumerate(images):
                    self._add_picture(image, "".join(names[index : index + 1]), step, model, run)
                return
            kind = images.shape[1:], images.itemsize
            a_block = images_a_block(len(images), *kind, BLOCK_BYTES)
            for part in parts_together(len(images), a_block, *kind, GROUP_BYTES):
                num_blocks = (part.stop - part.start) // a_block or 1
                self.add_blocks(
                    encode_blocks(images[part], names[part], model, step, num_blocks, run)
                )

    def _add_picture(
        self, image: NDArray[Any], name: str, step: int, model: ContextModel, run: Run
    ) -> None:
        """Write an image in tiles, with memory for some of them."""
        tiling = Tiling.of(*image.shape[:2])
        shape = tiling.tile_height, tiling.tile_width, image.shape[2]
        a_block = images_a_block(tiling.num_tiles, shape, image.itemsize, BLOCK_BYTES)
        num_blocks = -(-tiling.num_tiles // a_block)
        bits = 8 * image.dtype.itemsize
        picture = Picture(tiling, bits, image.shape[2], num_blocks, checksum(image), name)

        def blocks() -> Iterator[Block]:
            for part in parts_together(
                tiling.num_tiles, a_block, shape, image.itemsize, GROUP_BYTES_OF_TILES
            ):
                num_blocks = (part.stop - part.start) // a_block or 1
                tiles = tiling.cut(image, part)
                yield from encode_blocks(tiles, (), model, step, num_blocks, run, True)

        self.add_picture(picture, blocks())

    def add_codes(self, codes: Codes, names: Sequence[str] = ()) -> NDArray[np.uint8]:
        """Write a block of images by their latents alone.

        Args:
            codes: As `LatentModel.codes` gives them, of 1 to 4,096 images.
            names: One for each image, or none.

        Returns:
            The images that it decodes to.
        """
        if not isinstance(self.model, LatentModel):
            raise TypeError("An archive of pixels takes images.")
        with threads() as run:
            block, images = encode_latents(codes, names, self.model, run)
        self.add_blocks([block])
        return images

    def add_blocks(self, blocks: Sequence[Block]) -> None:
        """Write blocks that are coded already."""
        for block in blocks:
            self._count(block.kind.num_images, block.kind)
            self._record(BLOCK, block.to_bytes())

    def add_picture(self, picture: Picture, blocks: Iterable[Block]) -> None:
        """Write a picture in tiles that are coded already, or are while they are asked for."""
        self._has_pictures = True
        self._count(1, picture)
        self._record(PICTURE, picture.to_bytes())
        for block in blocks:
            self._record(BLOCK, block.to_bytes())

    def _count(self, num_images: int, kind: Kind | Picture) -> None:
        """Note that images begin here."""
        self._entries.append(Entry(self._offset, num_images))
        self.num_raw_bytes += kind.num_bytes
        self.num_values += kind.num_bytes // kind.dtype.itemsize

    def close(self) -> int:
        """Write the end; without it there is no archive.

        Returns:
            Bytes written in all.
        """
        start = self._offset
        self._record(
            INDEX,
            b"".join(_ENTRY.pack(entry.offset, entry.num_images) for entry in self._entries),
        )
        self._write(trailer(start))
        if self._has_pictures:
            self.stream.seek(self._start + len(MAGIC))
            self.stream.write(self._header())
            self.stream.seek(self._start + self._offset)
        return self._offset

    def _header(self) -> bytes:
        version = FORMAT_VERSION if self._has_pictures else FIRST_VERSION
        name = self.model_name.encode("utf-8", "replace")[:LONGEST_MODEL_NAME]
        return framed(HEADER, bytes([version]) + self.model.identity + name)

    def _record(self, kind: bytes, payload: bytes) -> None:
        self._write(framed(kind, payload))

    def _write(self, data: bytes) -> None:
        self.stream.write(data)
        self._offset += len(data)


class ImageArchive(Sequence[NDArray[Any]]):
    """The images of an archive: a sequence that decodes what it is asked for, also in threads.

    Args:
        path: The archive.
        models: One of these coded it; none need be given where it lies in the archive.

    Raises:
        ModelFileError: The file is missing, damaged, hostile or too new, or another model coded it.
    """

    def __init__(self, path: str | os.PathLike[str], models: Sequence[Model] = ()) -> None:
        self._file = RecordFile(path)
        try:
            self._read_head(models)
            self._entries = self._read_index()
        except BaseException:
            self._file.close()
            raise
        counts = [entry.num_images for entry in self._entries]
        self._ends = np.cumsum(counts, dtype=np.int64)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def model(self) -> Model:
        """What coded the images."""
        return self._model

    @property
    def name(self) -> str:
        """What a message calls the archive."""
        return self._file.name

    @property
    def with_model(self) -> bool:
        """Whether it holds what decoding needs."""
        return self._with_model

    @property
    def num_bytes(self) -> int:
        """Size of the file."""
        return self._file.num_bytes

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401 # an int or a slice, as of a list
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = index.__index__()
        if number < 0:
            number += len(self)
        if not 0 <= number < len(self):
            raise IndexError(f"The archive has {len(self):,} images; received the index {index}.")
        entry = int(np.searchsorted(self._ends, number, side="right"))
        picture, blocks = self._part(entry)
        if picture is None:
            images = decode_blocks(list(blocks), self._model)
            return images[number - int(self._ends[entry])]
        with threads() as run:
            return self._put_together(picture, blocks, run)

    def blocks(self) -> Iterator[Block]:
        """All blocks, coded; those of pictures in tiles too."""
        return (block for _, blocks in self.parts() for block in blocks)

    def parts(self) -> Iterator[tuple[Picture | None, Iterator[Block]]]:
        """All that the index names, coded: None and a block, or a picture and its blocks."""
        return map(self._part, range(len(self._entries)))

    def kinds(self) -> set[tuple[tuple[int, int, int], np.dtype[Any]]]:
        """The shapes, height, width and channels, and types that images have."""
        found = set()
        for picture, blocks in self.parts():
            if picture is not None:
                found.add((picture.shape, picture.dtype))
            else:
                found.update((block.kind.shape[1:], block.kind.dtype) for block in blocks)
        return found

    def names(self) -> list[str | None]:
        """What each image is called; None for one without a name."""
        found: list[str | None] = []
        for picture, blocks in self.parts():
            if picture is not None:
                found += picture.names or [None]
                continue
            for block in blocks:
                found += block.names or [None] * block.kind.num_images
        return found

    def read(self) -> Iterator[tuple[NDArray[Any], tuple[str, ...]]]:
        """All images in their order, some at a time, with their names if they have any.

        Yields:
            uint8 or uint16 `(num_images, height, width, channels)`, and the names.
        """
        with threads() as run:
            for picture, blocks in self._groups():
                if picture is None:
                    group = list(blocks)
                    names = tuple(name for block in group for name in block.names)
                    yield decode_blocks(group, self._model, run), names
                else:
                    yield self._put_together(picture, blocks, run)[np.newaxis], picture.names

    def _groups(self) -> Iterator[tuple[Picture | None, Iterable[Block]]]:
        """Blocks that can be decoded together, as many as fit, and pictures."""
        for is_picture, parts in groupby(self.parts(), key=lambda part: part[0] is not None):
            if is_picture:
                yield from parts
                continue
            blocks = (block for _, some in parts for block in some)
            for _, alike in groupby(blocks, key=lambda block: (block.kind, bool(block.names))):
                for group in blocks_together(alike, GROUP_BYTES):
                    yield None, group

    def _put_together(self, picture: Picture, blocks: Iterable[Block], run: Run) -> NDArray[Any]:
        """A picture of its tiles, `(height, width, channels)`."""
        image = np.empty(picture.shape, picture.dtype)
        first = 0
        for group in blocks_together(picture.checked(blocks), GROUP_BYTES_OF_TILES):
            places: dict[Kind, list[tuple[int, Block]]] = {}
            for block in group:
                places.setdefault(block.kind, []).append((first, block))
                first += block.kind.num_images
            for alike in places.values():
                tiles = decode_blocks([block for _, block in alike], self._model, run)
                for (place, _), own in zip(alike, np.split(tiles, len(alike)), strict=True):
                    picture.tiling.put(image, place, own)
        if checksum(image) != picture.pixels_crc:
            raise self._file.refused("a picture whose checksum is another one")
        return image

    def _part(self, index: int) -> tuple[Picture | None, Iterator[Block]]:
        entry = self._entries[index]
        kind, payload = self._file.read(entry.offset)
        if kind == PICTURE:
            picture = Picture.from_bytes(payload)
            return picture, self._blocks_behind(entry.offset, len(payload), picture.num_blocks)
        block = self._as_block(kind, payload)
        if block.kind.num_images != entry.num_images:
            raise self._file.refused(
                f"a block of {block.kind.num_images} images where {entry.num_images} are named"
            )
        return None, iter([block])

    def _blocks_behind(self, offset: int, length: int, num_blocks: int) -> Iterator[Block]:
        """So many blocks, one after the other, behind a record."""
        for _ in range(num_blocks):
            offset += RECORD_HEAD_BYTES + length
            kind, payload = self._file.read(offset)
            length = len(payload)
            yield self._as_block(kind, payload)

    def _as_block(self, kind: bytes, payload: bytes) -> Block:
        if kind != BLOCK:
            raise self._file.refused(f"a record of kind {kind!r} where a block is named")
        return Block.from_bytes(payload)

    def _read_head(self, models: Sequence[Model]) -> None:
        kind, payload = self._file.read(len(MAGIC))
        if kind != HEADER or len(payload) < 1 + IDENTITY_BYTES:
            raise self._file.refused("no header")
        if len(payload) > 1 + IDENTITY_BYTES + LONGEST_MODEL_NAME:
            raise self._file.refused(f"a header of {len(payload):,} bytes, which is too long")
        self._version = payload[0]
        if not FIRST_VERSION <= self._version <= FORMAT_VERSION:
            raise self._file.refused(
                f"version {payload[0]} of the format, where this program knows {FORMAT_VERSION}",
                "Upgrade convae to read this file: pip install --upgrade convae.",
            )
        identity, name = payload[1 : 1 + IDENTITY_BYTES], payload[1 + IDENTITY_BYTES :]
        wanted = f"{printable(name.decode('utf-8', 'replace'))} ({identity.hex()[:16]})"
        self._first_block = len(MAGIC) + RECORD_HEAD_BYTES + len(payload)
        kind, payload = self._file.read(self._first_block)
        self._with_model = kind == MODEL
        if self._with_model:
            self._first_block += RECORD_HEAD_BYTES + len(payload)
            try:
                models = [_unpacked(payload)]
            except ParameterError as error:
                raise self._file.refused(f"'{error}'") from error
        for model in models:
            if model.identity == identity:
                self._model = model
                return
        received = "one that codes otherwise" if models else "none"
        raise ModelFileError(
            f"{self.name} must be read with the model that coded it, {wanted}; received "
            f"{received}. Pass that model (--model on the command line)."
        )

    def _read_index(self) -> list[Entry]:
        offset, kind, payload = self._file.last()
        if kind != INDEX or len(payload) % _ENTRY.size:
            raise self._file.refused("no index at its end")
        entries = [Entry(*values) for values in _ENTRY.iter_unpack(payload)]
        for entry in entries:
            if not 0 < entry.num_images <= MOST_IMAGES:
                raise self._file.refused(f"a block of {entry.num_images} images at {entry.offset}")
        if entries != self._found_entries(offset, entries):
            raise self._file.refused("an index that names other blocks than there are")
        return entries

    def _found_entries(self, end: int, named: Sequence[Entry]) -> list[Entry]:
        """What the records up to the index say of it, but for how many images a block has."""
        num_images = {entry.offset: entry.num_images for entry in named}
        offset, found, num_blocks = self._first_block, [], 0
        while offset < end:
            kind, length = self._file.head(offset)
            if num_blocks and kind != BLOCK:
                raise self._file.refused(f"a record of kind {kind!r} among the blocks of a picture")
            if num_blocks:
                num_blocks -= 1
            elif kind == BLOCK:
                found.append(Entry(offset, num_images.get(offset, 0)))
            elif kind == PICTURE and self._version == FORMAT_VERSION:
                if length > LONGEST_PICTURE:
                    raise self._file.refused(f"a picture of {length} bytes")
                num_blocks = Picture.from_bytes(self._file.read(offset)[1]).num_blocks
                found.append(Entry(offset, 1))
            offset += RECORD_HEAD_BYTES + length
        if num_blocks:
            raise self._file.refused(f"a picture that lacks {num_blocks} blocks")
        return found
