"""Find the pictures of a folder and read them; it knows nothing of labels or data sets."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TypeAlias

from convae.errors import DataError
from convae.images.gather import FolderImages, PictureSettings, Progress, Skipped, gather
from convae.images.opened import KINDS, PICTURE_EXTENSIONS, path_remedy
from convae.images.resize import Fit, Size
from convae.images.store import StorePath
from convae.storage.files import printable

Paths: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def read_images(
    paths: Paths,
    *,
    size: Size | None = None,
    channels: int | None = None,
    fit: Fit = "pad",
    strict: bool = False,
    progress: Progress | None = None,
    store: StorePath | None = None,
) -> FolderImages:
    """Read the pictures of a folder and its subfolders, sorted by path; or the files named.

    In a folder, hidden files and hidden folders are left out and not counted. Files with other
    endings than those of `convae.PICTURE_EXTENSIONS` are counted in `notes`, and so are links to
    folders, which are not followed. Files that are named one by one keep their order and may have
    any ending.

    Args:
        paths: A folder, a file, or a sequence of files.
        size: Height and width of the images, in pixels; one number for both. By default the
            size that all pictures share, when no side passes 128; otherwise the median aspect
            ratio with the longer side at most 64, in multiples of 4; beyond an aspect ratio of
            8, with the shorter side 8.
        channels: 1, 3 or 4. By default 1 when every picture is gray, 4 when any has alpha,
            otherwise 3. Dropped alpha is composited on white.
        fit: How a picture of another size is brought to `size`: `pad`, `crop` or `stretch`.
        strict: Refuse the first picture that cannot be used, instead of skipping it; or of which
            only the first frame or page would be read; or a folder that cannot be listed.
        progress: Called with the steps done and all steps; a picture takes two steps.
        store: A .npy file to decode into, once, instead of into memory; what the images take is
            then disk space. It appears when complete, and `convae.load_dataset` reads it again.
            An existing file of images is replaced; it may lie inside the folder.

    Raises:
        DataError: There is no picture, none can be used, or they need too much memory; or `strict`,
            and a folder cannot be listed.
        ImageError: `strict`, and a picture cannot be used.
        ParameterError: A setting is outside its range.
        OutputError: The store cannot be written, for example for lack of room.
    """
    return read_paths(paths, PictureSettings(size, channels, fit, strict, progress, store))


def read_paths(paths: Paths, settings: PictureSettings) -> FolderImages:
    """Do the work of `read_images`, with its settings as one value.

    Raises:
        DataError: As `read_images`.
        ImageError: As `read_images`.
        OutputError: As `read_images`.
    """
    found = FoundFiles((), 0, ())
    if isinstance(paths, (str, os.PathLike)):
        root = Path(paths)
        where = printable(root)
        if root.is_dir():
            found = find_files(root, PICTURE_EXTENSIONS)
            if not found.names:
                raise no_pictures(root, found)
            names = found.names
        elif root.exists():
            root, names = root.parent, [root.name]
        else:
            raise DataError(
                f"Pictures must exist; there is nothing at {where}. {path_remedy(root)}"
            )
    else:
        root, where = Path(), "the list of files"
        names = [os.fspath(path) for path in paths]
        if not names:
            raise DataError("There must be at least one picture; received no path. Name a file.")
    # Of a million pictures the names alone are kept: paths would take ten times as much.
    return gather(
        lambda: ((name, root / name) for name in names),
        len(names),
        where,
        settings,
        found.unread,
        found.notes(),
    )


def no_pictures(root: Path, found: "FoundFiles") -> DataError:
    """What to raise when a folder holds no picture."""
    hindrance = f" ({found.unread[0][0]}: {found.unread[0][1]})" if found.unread else ""
    return DataError(
        f"A folder of images must hold {KINDS} files; {printable(root)} holds none, and "
        f"{found.num_others} other files{hindrance}. "
        f"Check the path, or convert the pictures to PNG."
    )


@dataclass(frozen=True)
class FoundFiles:
    """Files under a folder.

    Args:
        names: Those with a wanted ending, relative to the folder, sorted.
        num_others: How many have another ending.
        unread: Folders that could not be listed, and why.
        num_links: How many links to folders there are, which are not followed.
    """

    names: Sequence[str]
    num_others: int
    unread: Skipped
    num_links: int = 0

    def notes(self) -> list[str]:
        """What was left out without an error, in sentences."""
        notes = []
        if self.num_others:
            files = "1 file" if self.num_others == 1 else f"{self.num_others:,} files"
            notes.append(f"{files} with other endings than those of pictures: left out")
        if self.num_links:
            links = "1 link" if self.num_links == 1 else f"{self.num_links:,} links"
            notes.append(f"{links} to other folders: not followed")
        return notes


def find_files(root: Path, endings: tuple[str, ...]) -> FoundFiles:
    """Files of a folder and its subfolders by their endings, in any case.

    Hidden files and folders are left out and not counted; links to folders are not followed.
    """
    names: list[str] = []
    unread: list[tuple[str, str]] = []
    num_others = num_links = 0

    def note(error: OSError) -> None:
        folder = os.path.relpath(os.fsdecode(error.filename), root)
        unread.append((folder, f"A folder must be readable; listing it gave '{error.strerror}'."))

    for folder, folders, files in os.walk(root, onerror=note):
        folders[:] = [name for name in folders if not name.startswith(".")]
        beginning = PurePath(folder).relative_to(root).as_posix()
        beginning = "" if beginning == "." else f"{beginning}/"
        num_links += sum(Path(folder, name).is_symlink() for name in folders)
        for name in files:
            if name.startswith("."):
                continue
            if name.lower().endswith(endings):
                names.append(beginning + name)
            else:
                num_others += 1
    return FoundFiles(sorted(names), num_others, tuple(unread), num_links)
