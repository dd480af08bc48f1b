"""Write a file whole or not at all, and name it in a message. It reads no files.

What is unfinished lies beside its target under a hidden name, and whoever writes it holds a lock on
it. So what a killed process left can be told from what another one writes just now, and is removed
by the next that writes into the folder.
"""

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from convae.errors import OutputError

# Elsewhere an open file cannot be removed anyway, and a folder cannot be opened.
_HAS_LOCKS = os.name == "posix"
TILDE_REMEDY = "A ~ is expanded by the shell, and not in quotes: write the path in full."
# Endings of what is found in a folder of pictures and is none of them.
_RESULTS = (".cae", ".csv", ".html", ".npy", ".npz", ".safetensors")
_UNFINISHED = re.compile(r"\.convae-[0-9a-f]{16}\.part")
# Folders that this process has looked through.
_swept: set[str] = set()


@contextlib.contextmanager
def open_whole(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open `path` for writing so that it appears only when complete.

    The bytes go to a hidden file in the same folder, which is flushed to the disk and renamed
    over `path` when the block ends well: a reader sees the old file or the new one. When the
    block raises, the hidden file is removed and whatever stood at `path` stays. The new file has
    the permissions of the file that it replaces, or those that the process gives to any new file.
    A symbolic link stays; the file that it points to is written.

    Args:
        path: Output path; its folder is made when missing.

    Yields:
        A binary file object to write to.

    Raises:
        OutputError: The file cannot be written (no permission, no space, a folder or a device in
            the way, a name that no file can have).
    """
    unfinished: Path | None = None
    with writing(path):
        try:
            target = _target(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            _sweep(target.parent)
            unfinished, stream = _open_unfinished(target.parent)
            with stream:
                yield stream
                stream.flush()
                if target.exists() and hasattr(os, "fchmod"):
                    os.fchmod(stream.fileno(), target.stat().st_mode & 0o777)
                os.fsync(stream.fileno())
                if _HAS_LOCKS:
                    # Before the lock goes, so that nobody takes the file for a dead one's.
                    unfinished.replace(target)
                    unfinished = None
            if unfinished is not None:
                unfinished.replace(target)
                unfinished = None
        finally:
            if unfinished is not None:
                unfinished.unlink(missing_ok=True)


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path` as `open_whole` does."""
    with open_whole(path) as stream:
        stream.write(data)


def write_part(path: Path, data: bytes) -> None:
    """Write one of the files of a `results_folder`, which is hidden until all are there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


@contextlib.contextmanager
def results_folder(folder: str | os.PathLike[str], stale: Sequence[str] = ()) -> Iterator[Path]:
    """A hidden folder for the files of one run, which replace those in `folder` all at the end.

    Files at the top of the folder tell of those in its subfolders. So they go first and come last:
    a run that is killed leaves no file that tells of another run's.

    Args:
        folder: Where the files go when the block ends well; it is made when missing. If the block
            raises, nothing in it changes.
        stale: Files of an earlier run, relative to the folder, that go too.

    Yields:
        A folder inside it to write to, with `write_part`.

    Raises:
        OutputError: Something cannot be written.
    """
    with writing(folder):
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        _sweep(target)
        unfinished = target / _unfinished_name()
        unfinished.mkdir()
    with _held(unfinished), writing(folder):
        try:
            yield unfinished
            names = sorted(
                (path.relative_to(unfinished) for path in _files(unfinished)),
                key=lambda name: (-len(name.parts), name),
            )
            for name in [name for name in names if len(name.parts) == 1] + list(stale):
                _target(target / name).unlink(missing_ok=True)
            for name in names:
                place = _target(target / name)
                place.parent.mkdir(parents=True, exist_ok=True)
                (unfinished / name).replace(place)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def check_output(
    path: str | os.PathLike[str],
    inputs: Sequence[str | os.PathLike[str]] = (),
    *,
    overwrite: bool = True,
) -> None:
    """Refuse, before any work, to write over a file that is read, or that must stay.

    Args:
        path: What would be written.
        inputs: What is read: files, and folders with what is in them, but for files with an ending
            that only results have. What is no path is passed over.
        overwrite: Whether another file that exists may be replaced.

    Raises:
        OutputError: It is one of the inputs, or exists.
    """
    if any(_is_same(path, given) or _is_inside(path, given) for given in inputs):
        raise OutputError(
            f"A result must not replace what it is made of; {printable(path)} is read, too. Choose "
            f"another place."
        )
    if not overwrite and os.path.lexists(path):
        raise OutputError(
            f"A file must not be replaced without --overwrite; {printable(path)} exists. Choose "
            f"another place, or add --overwrite."
        )


def _is_same(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    try:
        return Path(one).samefile(other)
    except (OSError, ValueError):  # one is not there, or is no path
        return False


def _is_inside(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> bool:
    """Whether something that exists in a folder may be one of the pictures that are read there."""
    if Path(path).suffix.lower() in _RESULTS:
        return False
    try:
        return (
            Path(path).exists()
            and Path(folder).is_dir()
            and Path(os.path.realpath(folder)) in Path(os.path.realpath(path)).parents
        )
    except (OSError, ValueError):
        return False


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what the system says against writing into an `OutputError` that names `path`."""
    if os.fspath(path) == "~" or str(path).startswith(f"~{os.sep}"):
        raise OutputError(
            f"A result must have a place that the system knows; received {printable(path)}. "
            f"{TILDE_REMEDY}"
        )
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(
            f"A result must be writable where it was asked for; writing {os.fspath(path)} gave "
            f"'{_reason(error)}'. Choose another place or make room there."
        ) from error


def _unfinished_name() -> str:
    # Not named after the target, whose name may be as long as the file system allows.
    return f".convae-{secrets.token_hex(8)}.part"


def _open_unfinished(folder: Path) -> tuple[Path, BinaryIO]:
    """A new hidden file that this process has locked."""
    while True:
        path = folder / _unfinished_name()
        stream = path.open("xb")
        if _HAS_LOCKS:
            _lock(stream.fileno())
        if path.exists():
            return path, stream
        stream.close()  # swept in the moment before it was locked


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """A lock on a folder, where the system has such locks."""
    if not _HAS_LOCKS:
        yield
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        _lock(number)
        yield
    finally:
        os.close(number)


def _sweep(folder: Path) -> None:
    """Remove what killed processes left unfinished in a folder; once for each folder."""
    key = os.path.realpath(folder)
    if key in _swept:
        return
    _swept.add(key)
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        found = [Path(entry.path) for entry in entries if _UNFINISHED.fullmatch(entry.name)]
        for path in found:
            with contextlib.suppress(OSError):
                _remove_if_abandoned(path)


def _remove_if_abandoned(path: Path) -> None:
    """Remove what nobody holds; who holds it is asked without waiting."""
    mode = path.lstat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return
    number = None
    if _HAS_LOCKS:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        if not _lock(number):
            os.close(number)
            return
    try:
        if stat.S_ISDIR(mode):
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
    finally:
        if number is not None:
            os.close(number)


def _lock(number: int) -> bool:
    """Lock an open file; whether nobody else holds it and the file system has locks."""
    from convae.storage.locks import lock_at_once

    with contextlib.suppress(OSError):
        return lock_at_once(number)
    return False


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield path


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
