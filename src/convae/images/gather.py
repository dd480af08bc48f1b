"""Decode many pictures, from any source, into one array. It does not find the pictures.

The array is in memory, or a file that `convae.images.store` writes and maps.
"""

import itertools
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from convae.errors import DataError, ImageError
from convae.images.contract import to_float, to_uint8
from convae.images.pictures import Header, Source, decode, read_header
from convae.images.resize import (
    CHANNELS,
    LARGEST_SIDE,
    SMALLEST_SIDE,
    Fit,
    Size,
    check_channels,
    check_fit,
    check_size,
    fit_channels,
    fit_size,
)
from convae.images.store import StorePath, check_store, keep_images
from convae.storage.files import printable

# Pictures that share a size keep it up to here; mixed ones are brought to at most 64 pixels.
LARGEST_COMMON_SIDE = 128
LARGEST_MIXED_SIDE = 64

Progress: TypeAlias = Callable[[int, int], None]
Sources: TypeAlias = Callable[[], Iterable[tuple[str, Source | None]]]
Skipped: TypeAlias = tuple[tuple[str, str], ...]

Found = TypeVar("Found")


@dataclass(frozen=True, eq=False)
class FolderImages:
    """Pictures of many files as one array.

    Args:
        images: uint8, or float32 in [0, 1] when any picture has 16 bits; shape (num_images,
            height, width, channels). With a store, a memory map that cannot be written to.
        paths: One for each image, relative to the folder.
        num_resized: How many had another size and were changed.
        skipped: Path and reason of each picture that could not be used.
        positions: Where each image stood among all pictures found, skipped ones counted.
        notes: What else was left out, in sentences.
    """

    images: NDArray[Any]
    paths: tuple[str, ...]
    num_resized: int
    skipped: Skipped
    positions: tuple[int, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PictureSettings:
    """What to make of pictures.

    Args:
        size: Height and width of the images, in pixels; one number for both. By default the
            size that all pictures share, when no side passes 128; otherwise the median aspect
            ratio with the longer side at most 64, in multiples of 4; beyond an aspect ratio of
            8, with the shorter side 8.
        channels: 1, 3 or 4. By default 1 when every picture is gray, 4 when any has alpha,
            otherwise 3.
        fit: How a picture of another size is brought to `size`: `pad`, `crop` or `stretch`.
        strict: Refuse the first picture that cannot be used, instead of skipping it; or of which
            only the first frame or page would be read; or a folder that cannot be listed.
        progress: Called with the steps done and all steps; a picture takes two steps.
        store: The .npy file to decode into, as `convae.images.store_images` writes it, instead of
            into memory.

    Raises:
        ParameterError: A setting is outside its range.
        OutputError: Something is in the store's way that must not be replaced.
    """

    size: Size | None = None
    channels: int | None = None
    fit: Fit = "pad"
    strict: bool = False
    progress: Progress | None = None
    store: StorePath | None = None

    def __post_init__(self) -> None:
        check_fit(self.fit)
        if self.size is not None:
            object.__setattr__(self, "size", check_size(self.size))
        if self.channels is not None:
            object.__setattr__(self, "channels", check_channels(self.channels))
        if self.store is not None:
            object.__setattr__(self, "store", check_store(self.store))


@dataclass
class _Survey:
    """What the headers say: of a million pictures, it takes a few million bytes.

    Args:
        usable: One byte for each picture found, 0 or 1.
        heights: Of the usable pictures, in pixels.
        widths: The same.
        channels: All numbers of channels that occur.
        dtypes: All dtypes that occur.
        num_more_frames: How many pictures have frames behind the first.
    """

    usable: bytearray = field(default_factory=bytearray)
    heights: "array[int]" = field(default_factory=lambda: array("I"))
    widths: "array[int]" = field(default_factory=lambda: array("I"))
    channels: set[int] = field(default_factory=set)
    dtypes: set[np.dtype[Any]] = field(default_factory=set)
    num_more_frames: int = 0

    def add(self, position: int, header: Header) -> None:
        self.usable.extend(bytes(position - len(self.usable)))
        self.usable.append(1)
        self.heights.append(header.height)
        self.widths.append(header.width)
        self.channels.add(header.channels)
        self.dtypes.add(header.dtype)
        self.num_more_frames += header.more_frames

    def shape(self, settings: PictureSettings) -> tuple[int, int, int, int]:
        if settings.size is None:
            height, width = _common_size(np.array(self.heights), np.array(self.widths))
        else:
            height, width = check_size(settings.size)
        depth = settings.channels or next(n for n in reversed(CHANNELS) if n in self.channels)
        return len(self.heights), height, width, depth

    def dtype(self) -> np.dtype[Any]:
        return np.result_type(*self.dtypes)


@dataclass
class _Passes:
    """Goes through the pictures, keeping account of what cannot be used."""

    sources: Sources
    num_sources: int
    settings: PictureSettings
    skipped: dict[int, tuple[str, str]] = field(default_factory=dict)
    num_steps: int = 0

    def run(
        self, read: Callable[[Source, str], Found], wanted: Iterable[int]
    ) -> Iterator[tuple[int, str, Found]]:
        found = zip(wanted, self.sources(), strict=False)  # those wanted may go on without end
        for position, (is_wanted, (name, source)) in enumerate(found):
            if is_wanted:
                try:
                    yield position, name, read(present(source, name), printable(name))
                except ImageError as error:
                    if self.settings.strict:
                        raise
                    self.skipped[position] = (name, str(error))
            self.num_steps += 1
            if self.settings.progress is not None:
                self.settings.progress(self.num_steps, 2 * self.num_sources)

    def nothing_left(self, where: str) -> DataError:
        if not self.skipped:
            return DataError(
                f"At least one picture must be usable; {where} holds none. Check the path."
            )
        name, reason = self.skipped[min(self.skipped)]
        return DataError(
            f"At least one picture must be usable; none of the {len(self.skipped):,} in {where} "
            f"is. The first, {printable(name)}: {reason}"
        )


def gather(
    sources: Sources,
    num_sources: int,
    where: str,
    settings: PictureSettings,
    unread: Skipped = (),
    notes: Sequence[str] = (),
) -> FolderImages:
    """Read pictures in two passes: the headers decide on the array, then they are decoded.

    Args:
        sources: Called once for each pass; gives a name and a path or bytes for each picture.
        num_sources: How many there are.
        where: Where they come from, for a message.
        settings: What to make of them.
        unread: Folders that could not be listed, and why.
        notes: What else was left out before, in sentences.

    Raises:
        DataError: No picture can be used, or the images need too much memory.
        ImageError: The settings are strict, and a picture cannot be used.
        OutputError: The store cannot be written, for example for lack of room.
    """
    if settings.strict:
        check_listed(unread)
    passes = _Passes(sources, num_sources, settings)
    survey = _Survey()
    for position, name, header in passes.run(read_header, itertools.repeat(1)):
        if settings.strict:
            check_one_frame(header.more_frames, name)
        survey.add(position, header)
    if not survey.heights:
        raise passes.nothing_left(where)
    shape, dtype = survey.shape(settings), survey.dtype()
    count, height, width, depth = shape
    what = f"{count:,} images of {height} x {width} from {where}"
    names: list[str] = []
    positions: list[int] = []
    num_resized = 0

    def fitted() -> Iterator[NDArray[Any]]:
        nonlocal num_resized
        wanted = itertools.chain(survey.usable, itertools.repeat(0))
        for position, name, picture in passes.run(decode, wanted):
            image = fit_channels(fit_size(picture, height, width, settings.fit), depth)
            num_resized += picture.shape[:2] != (height, width)
            names.append(name)
            positions.append(position)
            yield (to_uint8(image) if dtype == np.uint8 else to_float(image))[np.newaxis]
        if not names:
            raise passes.nothing_left(where)

    remedy = "Choose a smaller size or fewer pictures"
    images = keep_images(fitted(), shape, dtype, settings.store, what, remedy)
    skipped = tuple(passes.skipped[position] for position in sorted(passes.skipped))
    return FolderImages(
        images,
        tuple(names),
        num_resized,
        (*unread, *skipped),
        tuple(positions),
        (*notes, *frames_note(survey.num_more_frames)),
    )


def present(source: Source | None, name: str) -> Source:
    """A source that is there.

    Raises:
        ImageError: It is not, as in an empty cell of a table.
    """
    if source is None:
        raise ImageError(f"A picture must hold data; {printable(name)} holds none. Leave it out.")
    return source


def check_listed(unread: Skipped) -> None:
    """Refuse folders that could not be listed.

    Raises:
        DataError: There is one.
    """
    if unread:
        folder, reason = unread[0]
        raise DataError(f"{printable(folder)}: {reason} Change its permissions, or leave it out.")


def check_one_frame(more_frames: bool, name: str) -> None:
    """Refuse a picture of which only a part would be read.

    Raises:
        ImageError: There are frames behind the first.
    """
    if more_frames:
        raise ImageError(
            f"A picture must have one frame or page to be read strictly; {printable(name)} has "
            f"more. Save each as a file of its own, or read it without strict, which takes the "
            f"first."
        )


def frames_note(num_pictures: int) -> list[str]:
    """What to say of pictures with more frames than the first: one sentence, or none."""
    if not num_pictures:
        return []
    files = "1 picture has" if num_pictures == 1 else f"{num_pictures:,} pictures have"
    return [f"{files} more than one frame or page; only the first is read"]


def _common_size(heights: NDArray[Any], widths: NDArray[Any]) -> tuple[int, int]:
    height, width = int(heights[0]), int(widths[0])
    same = (heights == height).all() and (widths == width).all()
    if same and max(height, width) <= LARGEST_COMMON_SIDE:
        return height, width
    aspect = float(np.median(widths / heights))
    longer = min(LARGEST_MIXED_SIDE, float(np.median(np.maximum(heights, widths))))
    # Long pictures keep their shape: a shorter side that is rounded up would be filled with copies
    # of their edges.
    longer = max(longer, SMALLEST_SIDE * max(aspect, 1 / aspect))
    if longer > LARGEST_SIDE:
        raise DataError(
            f"Pictures must be at most {LARGEST_SIDE // SMALLEST_SIDE:,} times as long as wide, or "
            f"come with a size; received a median of {max(aspect, 1 / aspect):,.0f} times. Pass a "
            f"size, or cut them."
        )

    def settle(side: float) -> int:
        return max(SMALLEST_SIDE, round(side / 4) * 4)

    return settle(longer / max(aspect, 1)), settle(longer * min(aspect, 1))
