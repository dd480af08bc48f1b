"""The archive: blocks of images one after the other, an index, and the name of what coded them.

docs/archive.md states the format. Every record has a checksum, lengths are bounded before memory is
taken, and an archive without its end is refused, so what comes out is what went in, or an error.
"""

import os
import struct
import threading
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from convae.coding.blocks import (
    BLOCK_BYTES,
    MOST_IMAGES,
    Block,
    Model,
    block_size,
    decode_blocks,
    encode_blocks,
    encode_latents,
)
from convae.coding.contextmodel import ContextModel
from convae.coding.latents import Codes, LatentModel
from convae.coding.threads import threads
from convae.errors import ModelFileError, ParameterError
from convae.storage.files import printable
from convae.storage.regular import check_regular

MAGIC = b"\x8aCAE\r\n\x1a\n"
END = b"CAE\x8a"
FORMAT_VERSION = 1
IDENTITY_BYTES = 32
LONGEST_MODEL_NAME = 200
# Blocks decoded together hold at most this many bytes of images, give or take one block.
GROUP_BYTES = 1 << 23

_RECORD = struct.Struct("<cII")
_ENTRY = struct.Struct("<QI")
_TRAILER = struct.Struct("<Q4s")
_SORTS: dict[type[Model], bytes] = {ContextModel: b"C", LatentModel: b"L"}
_HEADER, _MODEL, _BLOCK, _INDEX = b"H", b"M", b"B", b"I"


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
    """Where a block is.

    Args:
        offset: Of its record, from the beginning of the file.
        num_images: How many it holds.
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
    """

    stream: BinaryIO
    model: Model
    model_name: str
    with_model: bool = False
    num_raw_bytes: int = 0
    num_values: int = 0
    _entries: list[Entry] = field(default_factory=list)
    _offset: int = 0

    def __post_init__(self) -> None:
        self._write(MAGIC)
        name = self.model_name.encode("utf-8", "replace")[:LONGEST_MODEL_NAME]
        self._record(_HEADER, bytes([FORMAT_VERSION]) + self.model.identity + name)
        if self.with_model:
            self._record(_MODEL, packed(self.model))

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
        most = min(MOST_IMAGES, max(1, BLOCK_BYTES // images[0].nbytes))
        a_block = block_size(len(images), most)
        whole = len(images) // a_block * a_block
        together = max(1, GROUP_BYTES // (a_block * images[0].nbytes)) * a_block
        # Images of whole blocks, some blocks together; then those that are left.
        edges = [*range(0, whole, together), whole, len(images)]
        parts = [slice(*pair) for pair in pairwise(edges) if pair[0] < pair[1]]
        with threads() as run:
            for part in parts:
                num_blocks = (part.stop - part.start) // a_block or 1
                self.add_blocks(
                    encode_blocks(images[part], names[part], model, step, num_blocks, run)
                )

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
            self._entries.append(Entry(self._offset, block.kind.num_images))
            self.num_raw_bytes += block.kind.num_bytes
            self.num_values += block.kind.num_bytes // block.kind.dtype.itemsize
            self._record(_BLOCK, block.to_bytes())

    def close(self) -> int:
        """Write the end; without it there is no archive.

        Returns:
            Bytes written in all.
        """
        start = self._offset
        self._record(
            _INDEX,
            b"".join(_ENTRY.pack(entry.offset, entry.num_images) for entry in self._entries),
        )
        self._write(_TRAILER.pack(start, END))
        return self._offset

    def _record(self, kind: bytes, payload: bytes) -> None:
        crc = zlib.crc32(payload, zlib.crc32(kind))
        self._write(_RECORD.pack(kind, len(payload), crc) + payload)

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
        self._where = printable(path)
        self._turn = threading.RLock()
        try:
            check_regular(path)
            self._stream = Path(path).open("rb")  # noqa: SIM115 # until `close`
        except (OSError, ValueError) as error:
            raise ModelFileError(
                f"An archive must be readable; opening {self._where} gave "
                f"'{getattr(error, 'strerror', None) or error}'. Check the path."
            ) from error
        try:
            self._size = self._stream.seek(0, os.SEEK_END)
            self._read_head(models)
            self._entries = self._read_index()
        except BaseException:
            self._stream.close()
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
        self._stream.close()

    @property
    def model(self) -> Model:
        """What coded the images."""
        return self._model

    @property
    def name(self) -> str:
        """What a message calls the archive."""
        return self._where

    @property
    def with_model(self) -> bool:
        """Whether it holds what decoding needs."""
        return self._with_model

    @property
    def num_bytes(self) -> int:
        """Size of the file."""
        return self._size

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
        block = int(np.searchsorted(self._ends, number, side="right"))
        images = decode_blocks([self._block(block)], self._model)
        return images[number - int(self._ends[block])]

    def blocks(self) -> Iterator[Block]:
        """All blocks, coded."""
        return map(self._block, range(len(self._entries)))

    def names(self) -> list[str | None]:
        """What each image is called; None for one without a name."""
        return [
            name
            for block in self.blocks()
            for name in (block.names or [None] * block.kind.num_images)
        ]

    def read(self) -> Iterator[tuple[NDArray[Any], tuple[str, ...]]]:
        """All images in their order, some at a time, with their names if they have any.

        Yields:
            uint8 or uint16 `(num_images, height, width, channels)`, and the names.
        """
        with threads() as run:
            for group in self._groups():
                names = tuple(name for block in group for name in block.names)
                yield decode_blocks(group, self._model, run), names

    def _groups(self) -> Iterator[list[Block]]:
        """Blocks that can be decoded together, as many as fit."""
        for kind, alike in groupby(
            self.blocks(), key=lambda block: (block.kind, bool(block.names))
        ):
            together = max(1, GROUP_BYTES // kind[0].num_bytes)
            group: list[Block] = []
            for block in alike:
                group.append(block)
                if len(group) == together:
                    yield group
                    group = []
            if group:
                yield group

    def _block(self, index: int) -> Block:
        entry = self._entries[index]
        kind, payload = self._record(entry.offset)
        if kind != _BLOCK:
            raise self._refused(f"a record of kind {kind!r} where a block is named")
        block = Block.from_bytes(payload)
        if block.kind.num_images != entry.num_images:
            raise self._refused(
                f"a block of {block.kind.num_images} images where {entry.num_images} are named"
            )
        return block

    def _read_head(self, models: Sequence[Model]) -> None:
        self._stream.seek(0)
        if self._stream.read(len(MAGIC)) != MAGIC:
            raise self._refused("a file of another kind", "Pass what `convae compress` wrote.")
        kind, payload = self._record(len(MAGIC))
        if kind != _HEADER or len(payload) < 1 + IDENTITY_BYTES:
            raise self._refused("no header")
        if len(payload) > 1 + IDENTITY_BYTES + LONGEST_MODEL_NAME:
            raise self._refused(f"a header of {len(payload):,} bytes, which is too long")
        if payload[0] != FORMAT_VERSION:
            raise self._refused(
                f"version {payload[0]} of the format, where this program knows {FORMAT_VERSION}",
                "Upgrade convae to read this file: pip install --upgrade convae.",
            )
        identity, name = payload[1 : 1 + IDENTITY_BYTES], payload[1 + IDENTITY_BYTES :]
        wanted = f"{printable(name.decode('utf-8', 'replace'))} ({identity.hex()[:16]})"
        self._first_block = self._stream.tell()
        kind, payload = self._record(self._first_block)
        self._with_model = kind == _MODEL
        if self._with_model:
            self._first_block = self._stream.tell()
            try:
                models = [_unpacked(payload)]
            except ParameterError as error:
                raise self._refused(f"'{error}'") from error
        for model in models:
            if model.identity == identity:
                self._model = model
                return
        received = "one that codes otherwise" if models else "none"
        raise ModelFileError(
            f"{self._where} must be read with the model that coded it, {wanted}; received "
            f"{received}. Pass that model."
        )

    def _read_index(self) -> list[Entry]:
        start = self._size - _TRAILER.size
        if start < 0:
            raise self._refused("too few bytes")
        self._stream.seek(start)
        offset, end = _TRAILER.unpack(self._stream.read(_TRAILER.size))
        if end != END:
            raise self._refused("no end: the file was cut off")
        kind, payload = self._record(offset)
        if kind != _INDEX or self._stream.tell() != start or len(payload) % _ENTRY.size:
            raise self._refused("no index at its end")
        entries = [Entry(*values) for values in _ENTRY.iter_unpack(payload)]
        for entry in entries:
            if not 0 < entry.num_images <= MOST_IMAGES:
                raise self._refused(f"a block of {entry.num_images} images at {entry.offset}")
        if [entry.offset for entry in entries] != self._block_offsets(offset):
            raise self._refused("an index that names other blocks than there are")
        return entries

    def _block_offsets(self, end: int) -> list[int]:
        """Where the blocks are, by their records alone, up to the index."""
        offset, found = self._first_block, []
        while offset < end:
            kind, length, _ = self._head_of(offset)
            if kind == _BLOCK:
                found.append(offset)
            offset += _RECORD.size + length
        return found

    def _head_of(self, offset: int) -> tuple[bytes, int, int]:
        """Kind, length and checksum of a record; the file is then where its contents begin."""
        if not 0 <= offset <= self._size - _RECORD.size:
            raise self._refused(f"a record at {offset} of {self._size} bytes")
        self._stream.seek(offset)
        kind, length, crc = _RECORD.unpack(self._stream.read(_RECORD.size))
        if length > self._size - offset - _RECORD.size:
            raise self._refused(f"a record of {length} bytes in a file of {self._size}")
        return kind, length, crc

    def _record(self, offset: int) -> tuple[bytes, bytes]:
        """Kind and contents of a record; the file is then behind it."""
        with self._turn:
            kind, length, crc = self._head_of(offset)
            payload = self._stream.read(length)
        if zlib.crc32(payload, zlib.crc32(kind)) != crc:
            raise self._refused("bytes whose checksum is another one")
        return kind, payload

    def _refused(self, what: str, remedy: str = "Get the file again.") -> ModelFileError:
        return ModelFileError(
            f"{self._where} must be a whole archive of images; received {what}. {remedy}"
        )
