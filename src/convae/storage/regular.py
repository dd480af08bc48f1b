"""Refuse a path that is no regular file before it is opened: a pipe would wait for its writer."""

import errno
import os
import stat
from pathlib import Path


def check_regular(path: str | os.PathLike[str]) -> None:
    """Do nothing for a regular file, or a symbolic link to one.

    Raises:
        OSError: It is a folder, a pipe or a device, or cannot be found.
        ValueError: It is no path: it holds a null character.
    """
    mode = Path(path).stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError("it is a pipe or a device, and no regular file")
