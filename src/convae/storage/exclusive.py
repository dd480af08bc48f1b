"""One process at a time changes what several could change."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from convae.errors import OutputError
from convae.storage.files import printable, writing
from convae.storage.locks import lock_at_once

LOCK = ".convae.lock"


@contextlib.contextmanager
def only_writer(path: str | os.PathLike[str]) -> Iterator[None]:
    """Within the block, no other process that asks for it may change a file, or a folder's results.

    A small hidden file is locked, in the folder or beside the file.

    Raises:
        OutputError: Another process does, or nothing can be written there.
    """
    with writing(path):
        target = Path(os.path.realpath(path))
        lock_path = target / LOCK
        if not target.is_dir():
            lock_path = target.parent / f".convae-{_digest(target.name)}.lock"
        stream = _open_lock(lock_path, path)
    with stream:
        try:
            yield
        finally:
            # While it is locked: who waits for it finds that it is gone, and makes another.
            with contextlib.suppress(OSError):
                lock_path.unlink()


def _digest(name: str) -> str:
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:16]


def _open_lock(lock_path: Path, path: str | os.PathLike[str]) -> BinaryIO:
    """The file to lock, locked; it is the one that has this name."""
    while True:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        stream = os.fdopen(os.open(lock_path, flags, 0o666), "r+b")
        try:
            free = lock_at_once(stream.fileno())
            same = free and os.path.samestat(os.fstat(stream.fileno()), lock_path.stat())
        except FileNotFoundError:
            same = False  # removed between opening and locking
        except BaseException:
            stream.close()
            raise
        if same:
            return stream
        stream.close()
        if not free:
            raise OutputError(
                f"Only one run at a time may write here; another one is writing "
                f"{printable(path)} now. Wait until it has ended, or choose another place."
            )
