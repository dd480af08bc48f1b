"""Write a file whole or not at all, and name it in a message. It reads no files."""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from convae.errors import OutputError


@contextlib.contextmanager
def open_whole(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open `path` for writing so that it appears only when complete.

    The bytes go to a hidden file in the same folder, which is flushed to the disk and renamed
    over `path` when the block ends well: a reader sees the old file or the new one. When the
    block raises, the hidden file is removed and whatever stood at `path` stays. The new file has
    the permissions that the process gives to any new file. A symbolic link stays; the file that
    it points to is written.

    Args:
        path: Output path; its folder is made when missing.

    Yields:
        A binary file object to write to.

    Raises:
        OutputError: The file cannot be written (no permission, no space, a folder or a device in
            the way, a name that no file can have).
    """
    temporary: Path | None = None
    try:
        target = _target(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        # Not named after the target, whose name may be as long as the file system allows.
        stream = (target.parent / f".convae-{secrets.token_hex(8)}.part").open("xb")
        temporary = Path(stream.name)
        with stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
        temporary = None
    except OSError as error:
        raise OutputError(
            f"A result must be writable where it was asked for; writing {os.fspath(path)} gave "
            f"'{_reason(error)}'. Choose another place or make room there."
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path` as `open_whole` does."""
    with open_whole(path) as stream:
        stream.write(data)


def _target(path: str | os.PathLike[str]) -> Path:
    """The file to replace, behind all symbolic links."""
    try:
        target = Path(os.path.realpath(path))
    except ValueError as error:
        raise OSError(errno.EINVAL, "a null character in the name") from error
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "a folder is in the way")
    if target.exists() and not target.is_file():
        # Renaming over it would replace the device itself, /dev/null for one.
        raise OSError(errno.EINVAL, "a device or a pipe is in the way")
    return target


def _reason(error: OSError) -> str:
    if isinstance(error, FileExistsError | NotADirectoryError):
        return "a file is in the way of its folder"
    return error.strerror or str(error)


def printable(path: str | os.PathLike[str]) -> str:
    """A path or a line for a terminal: invalid text and control characters become `?`."""
    text = os.fspath(path)
    return "".join(character if character.isprintable() else "?" for character in text)
