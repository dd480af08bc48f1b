"""Where pictures go in a folder by their names: one file for each name, on every system.

A name is a path with slashes, as `compress` stores it. Its file is a PNG, so one with another
ending gets `.png` behind it. What a file system cannot hold is written as the bytes of its UTF-8,
each as `%` and two digits; where two names would still meet, the later one gets `~2`, `~3` and so
on. Names that a person gave to files come back as they are wherever that is possible.
"""

import hashlib
import os
import re
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

PNG = ".png"
# Of a file's name, in bytes, on the file systems in use.
LONGEST_PART = 255
_WINDOWS = sys.platform == "win32"
# What no name can hold there, and names that stand for devices.
_BAD_ON_WINDOWS = re.compile(r'[\x00-\x1f<>:"\\|?*]|[. ]\Z')
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\.|\Z)", re.IGNORECASE)


def file_names(
    names: Sequence[str | None], *, windows: bool = _WINDOWS, folds_case: bool = False
) -> Iterator[Path]:
    """A file for each name, relative to the folder; no two are the same, and none leads out of it.

    Args:
        names: What the archive calls its images; None for one without a name, which is numbered.
        windows: Whether the files must be ones that Windows can hold.
        folds_case: Whether `A.png` and `a.png` are one file there.
    """
    parts = [_parts(name, index, len(names), windows) for index, name in enumerate(names)]
    plan = _Plan(folds_case)
    for own in parts:
        plan.add_folders(own)
    # Those that keep their names come first, whatever their order.
    kept = [index for index, own in enumerate(parts) if "/".join(own) == names[index]]
    files: list[Path | None] = [None] * len(names)
    for index in [*kept, *sorted(set(range(len(names))) - set(kept))]:
        files[index] = plan.take(parts[index])
    yield from (path for path in files if path is not None)


def changed(names: Sequence[str | None], files: Sequence[Path]) -> list[tuple[str, str]]:
    """The files whose name says too little: each with the name of its picture.

    A picture whose file is its name, or that with `.png` behind it, is left out.
    """
    return [
        (file.as_posix(), name)
        for file, name in zip(files, names, strict=True)
        if name is not None and file.as_posix() not in (name, name + PNG)
    ]


def folds_case(folder: Path) -> bool:
    """Whether a folder that exists takes upper and lower case for the same."""
    swapped = folder.parent / folder.name.swapcase()
    return swapped.name != folder.name and swapped.exists() and swapped.samefile(folder)


@dataclass(eq=False)
class _Plan:
    """The files and folders that are taken."""

    folds_case: bool
    _files: set[str] = field(default_factory=set)
    _folders: set[str] = field(default_factory=set)

    def add_folders(self, parts: tuple[str, ...]) -> None:
        for count in range(1, len(parts)):
            self._folders.add(self._key(parts[:count]))

    def take(self, parts: tuple[str, ...]) -> Path:
        *folders, last = parts
        stem = last[: -len(PNG)]
        number = 1
        while (key := self._key((*folders, last))) in self._files or key in self._folders:
            number += 1
            last = _shortened(stem, f"~{number}{PNG}")
        self._files.add(key)
        return Path(*folders, last)

    def _key(self, parts: tuple[str, ...]) -> str:
        path = "/".join(parts)
        # Such file systems take letters and accents apart for the same as together, too.
        return unicodedata.normalize("NFC", path).casefold() if self.folds_case else path


def _parts(name: str | None, index: int, count: int, windows: bool) -> tuple[str, ...]:
    """The folders of a name and its file, as a file system can hold them."""
    if name is None:
        name = f"{index:0{len(str(count))}d}"
    parts = name.split("/")
    if PurePosixPath(parts[-1]).suffix.lower() != PNG:
        parts[-1] += PNG
    *folders, last = (_possible(part, windows) for part in parts)
    if not last.lower().endswith(PNG):
        last += PNG
    stem, ending = last[: -len(PNG)], last[-len(PNG) :]
    return (*(_shortened(folder, "") for folder in folders), _shortened(stem, ending))


def _possible(part: str, windows: bool) -> str:
    """A part of a path that is a name, with what cannot be one written in digits."""
    if part in ("", ".", ".."):
        return _escaped(part) or "%"
    part = part.replace("\0", "%00")
    if windows:
        part = _BAD_ON_WINDOWS.sub(lambda found: _escaped(found[0]), part)
        if _DEVICE.match(part):
            part = _escaped(part[0]) + part[1:]
    return part


def _escaped(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogateescape"))


def _shortened(stem: str, ending: str) -> str:
    """A name that is not too long; what is cut off is told apart by its hash."""
    if len(os.fsencode(stem + ending)) <= LONGEST_PART:
        return stem + ending
    digest = hashlib.sha256(stem.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    tail = f"~{digest}{ending}"
    while len(os.fsencode(stem + tail)) > LONGEST_PART:
        stem = stem[:-1]
    return stem + tail
