"""Find the pictures of a folder and read them; it knows nothing of labels or data sets."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from convae.errors import DataError
from convae.files import printable
from convae.images.gather import FolderImages, PictureSettings, Progress, gather
from convae.images.pictures import EXTENSIONS
from convae.images.resize import Fit, Size

Paths: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
NamedPaths: TypeAlias = list[tuple[str, Path]]


def read_images(
    paths: Paths,
    *,
    size: Size | None = None,
    channels: int | None = None,
    fit: Fit = "pad",
    strict: bool = False,
    progress: Progress | None = None,
) -> FolderImages:
    """Read the pictures of a folder and its subfolders, sorted by path; or the files named.

    In a folder, files with other endings than PNG, JPEG, TIFF, BMP, WebP and GIF have, hidden
    files and hidden folders are left out and not counted; links to folders are not followed.
    Files that are named one by one keep their order and may have any ending.

    Args:
        paths: A folder, a file, or a sequence of files.
        size: Height and width of the images, in pixels; one number for both. By default the
            size that all pictures share, when no side passes 128; otherwise the median aspect
            ratio with the longer side at most 64, in multiples of 4.
        channels: 1, 3 or 4. By default 1 when every picture is grey, 4 when any has alpha,
            otherwise 3. Alpha that goes is composited on white.
        fit: How a picture of another size is brought to `size`: `pad`, `crop` or `stretch`.
        strict: Refuse the first picture that cannot be used, instead of skipping it.
        progress: Called with the steps done and all steps; a picture takes two steps.

    Raises:
        DataError: There is no picture, none can be used, or they need too much memory.
        ImageError: `strict`, and a picture cannot be used.
        ParameterError: A setting is outside its range.
    """
    return read_paths(paths, PictureSettings(size, channels, fit, strict, progress))


def read_paths(paths: Paths, settings: PictureSettings) -> FolderImages:
    """Do the work of `read_images`, with its settings as one value.

    Raises:
        DataError: As `read_images`.
        ImageError: As `read_images`.
    """
    unread: list[tuple[str, str]] = []
    if isinstance(paths, (str, os.PathLike)):
        root = Path(paths)
        where = printable(root)
        if root.is_dir():
            sources, unread = _walk(root)
        elif root.exists():
            sources = [(root.name, root)]
        else:
            raise DataError(f"Pictures must exist; there is nothing at {where}. Check the path.")
    else:
        where = "the list of files"
        sources = [(os.fspath(path), Path(path)) for path in paths]
        if not sources:
            raise DataError("There must be at least one picture; received no path. Name a file.")
    return gather(lambda: sources, len(sources), where, settings, tuple(unread))


def _walk(root: Path) -> tuple[NamedPaths, list[tuple[str, str]]]:
    """All pictures under a folder, and the folders that could not be listed."""
    found: NamedPaths = []
    unread: list[tuple[str, str]] = []
    num_others = 0

    def note(error: OSError) -> None:
        folder = os.path.relpath(os.fsdecode(error.filename), root)
        unread.append((folder, f"A folder must be readable; listing it gave '{error.strerror}'."))

    for folder, names, files in os.walk(root, onerror=note):
        names[:] = [name for name in names if not name.startswith(".")]
        for name in files:
            if name.startswith("."):
                continue
            if not name.lower().endswith(EXTENSIONS):
                num_others += 1
                continue
            path = Path(folder, name)
            found.append((path.relative_to(root).as_posix(), path))
    if not found:
        hindrance = f" ({unread[0][0]}: {unread[0][1]})" if unread else ""
        raise DataError(
            f"A folder of images must hold PNG, JPEG, TIFF, BMP, WebP or GIF files; "
            f"{printable(root)} holds none, and {num_others} other files{hindrance}. "
            f"Check the path, or convert the pictures to PNG."
        )
    return sorted(found), unread
