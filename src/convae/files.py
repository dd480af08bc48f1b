"""Write a file whole or not at all; reading is everyone's own business."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from convae.errors import OutputError


@contextlib.contextmanager
def open_whole(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open `path` for writing so that it appears only when complete.

    The bytes go to a hidden file in the same folder, which is flushed to the disk and renamed
    over `path` when the block ends well. When the block raises, the hidden file is removed and
    whatever stood at `path` stays.

    Args:
        path: Where the file shall be; its folder is made when missing.

    Yields:
        A binary file object to write to.

    Raises:
        OutputError: The file cannot be written (no right, no space, a folder in the way).
    """
    target = Path(path)
    temporary: Path | None = None
    try:
        if target.is_dir():
            raise IsADirectoryError(21, "a folder is in the way")
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as stream:
            # mkstemp makes the file private; a result is as readable as any other new file.
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
        temporary = None
    except OSError as error:
        raise OutputError(
            f"A result must be writable where it was asked for; writing {target} gave "
            f"'{error.strerror or error}'. Choose another place or make room there."
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path` as `open_whole` does."""
    with open_whole(path) as stream:
        stream.write(data)
