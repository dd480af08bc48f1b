"""The records of an archive file, one after the other, each with a checksum."""

import os
import struct
import threading
import zlib
from pathlib import Path

from convae.errors import ModelFileError
from convae.storage.files import printable
from convae.storage.regular import check_regular

MAGIC = b"\x8aCAE\r\n\x1a\n"
END = b"CAE\x8a"
HEADER, MODEL, BLOCK, PICTURE, INDEX = b"H", b"M", b"B", b"P", b"I"

_RECORD = struct.Struct("<cII")
_TRAILER = struct.Struct("<Q4s")
RECORD_HEAD_BYTES = _RECORD.size


def framed(kind: bytes, payload: bytes) -> bytes:
    """A record."""
    return _RECORD.pack(kind, len(payload), zlib.crc32(payload, zlib.crc32(kind))) + payload


def trailer(offset: int) -> bytes:
    """The end of a file whose last record is at an offset."""
    return _TRAILER.pack(offset, END)


class RecordFile:
    """Reads records where they are asked for, also for several threads.

    Args:
        path: The file.

    Raises:
        ModelFileError: It cannot be read, or does not begin as an archive does.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.name = printable(path)
        self._turn = threading.RLock()
        try:
            check_regular(path)
            self._stream = Path(path).open("rb")  # noqa: SIM115 # until `close`
            self.num_bytes = self._stream.seek(0, os.SEEK_END)
        except (OSError, ValueError) as error:
            raise ModelFileError(
                f"An archive must be readable; opening {self.name} gave "
                f"'{getattr(error, 'strerror', None) or error}'. Check the path."
            ) from error
        self._stream.seek(0)
        if self._stream.read(len(MAGIC)) != MAGIC:
            self._stream.close()
            raise self.refused("a file of another kind", "Pass what `convae compress` wrote.")

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def last(self) -> tuple[int, bytes, bytes]:
        """Offset, kind and contents of the last record.

        Raises:
            ModelFileError: The file does not end as an archive does, or the record is damaged.
        """
        start = self.num_bytes - _TRAILER.size
        if start < 0:
            raise self.refused("too few bytes")
        self._stream.seek(start)
        offset, end = _TRAILER.unpack(self._stream.read(_TRAILER.size))
        if end != END:
            raise self.refused("no end: the file was cut off")
        kind, payload = self.read(offset)
        if offset + _RECORD.size + len(payload) != start:
            raise self.refused("no index at its end")
        return offset, kind, payload

    def head(self, offset: int) -> tuple[bytes, int]:
        """Kind of a record, and the length of its contents.

        Raises:
            ModelFileError: It is not in the file as a whole.
        """
        with self._turn:
            kind, length, _ = self._head(offset)
        return kind, length

    def read(self, offset: int) -> tuple[bytes, bytes]:
        """Kind and contents of a record.

        Raises:
            ModelFileError: It is damaged.
        """
        with self._turn:
            kind, length, crc = self._head(offset)
            payload = self._stream.read(length)
        if zlib.crc32(payload, zlib.crc32(kind)) != crc:
            raise self.refused("bytes whose checksum is another one")
        return kind, payload

    def _head(self, offset: int) -> tuple[bytes, int, int]:
        """As `head`, and the checksum; the file is then where the contents begin."""
        if not 0 <= offset <= self.num_bytes - _RECORD.size:
            raise self.refused(f"a record at {offset} of {self.num_bytes} bytes")
        self._stream.seek(offset)
        kind, length, crc = _RECORD.unpack(self._stream.read(_RECORD.size))
        if length > self.num_bytes - offset - _RECORD.size:
            raise self.refused(f"a record of {length} bytes in a file of {self.num_bytes}")
        return kind, length, crc

    def refused(self, what: str, remedy: str = "Get the file again.") -> ModelFileError:
        """The error that the file is `what`."""
        return ModelFileError(
            f"{self.name} must be a whole archive of images; received {what}. {remedy}"
        )
