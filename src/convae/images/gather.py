"""Decode many pictures into one array, whatever they come from; finding them is others' work."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from convae.errors import DataError, ImageError
from convae.files import printable
from convae.images.memory import check_memory
from convae.images.pictures import Header, Source, decode, read_header
from convae.images.resize import (
    CHANNELS,
    SMALLEST_SIDE,
    Fit,
    Size,
    check_channels,
    check_fit,
    check_size,
    fit_channels,
    fit_size,
)

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
            height, width, channels).
        paths: One for each image, relative to the folder.
        num_resized: How many had another size and were changed.
        skipped: Path and reason of each picture that could not be used.
        positions: Where each image stood among all pictures found, skipped ones counted.
    """

    images: NDArray[Any]
    paths: tuple[str, ...]
    num_resized: int
    skipped: Skipped
    positions: tuple[int, ...]


@dataclass(frozen=True)
class PictureSettings:
    """What to make of pictures.

    Args:
        size: Height and width of the images, in pixels; one number for both. By default the
            size that all pictures share, when no side passes 128; otherwise the median aspect
            ratio with the longer side at most 64, in multiples of 4.
        channels: 1, 3 or 4. By default 1 when every picture is grey, 4 when any has alpha,
            otherwise 3.
        fit: How a picture of another size is brought to `size`: `pad`, `crop` or `stretch`.
        strict: Refuse the first picture that cannot be used, instead of skipping it.
        progress: Called with the steps done and all steps; a picture takes two steps.

    Raises:
        ParameterError: A setting is outside its range.
    """

    size: Size | None = None
    channels: int | None = None
    fit: Fit = "pad"
    strict: bool = False
    progress: Progress | None = None

    def __post_init__(self) -> None:
        check_fit(self.fit)
        if self.size is not None:
            object.__setattr__(self, "size", check_size(self.size))
        if self.channels is not None:
            object.__setattr__(self, "channels", check_channels(self.channels))


@dataclass
class _Passes:
    """Goes through the pictures, keeping account of what cannot be used."""

    sources: Sources
    num_sources: int
    settings: PictureSettings
    skipped: dict[int, tuple[str, str]] = field(default_factory=dict)
    num_steps: int = 0

    def run(
        self, read: Callable[[Source, str], Found], wanted: Collection[int]
    ) -> Iterator[tuple[int, str, Found]]:
        for position, (name, source) in enumerate(self.sources()):
            if position in wanted:
                try:
                    yield position, name, read(_present(source, name), printable(name))
                except ImageError as error:
                    if self.settings.strict:
                        raise
                    self.skipped[position] = (name, str(error))
            self.num_steps += 1
            if self.settings.progress is not None:
                self.settings.progress(self.num_steps, 2 * self.num_sources)

    def nothing_left(self, where: str) -> DataError:
        name, reason = self.skipped[min(self.skipped)]
        return DataError(
            f"At least one picture must be usable; {where} has {len(self.skipped)} and none is. "
            f"The first, {printable(name)}: {reason}"
        )


def gather(
    sources: Sources,
    num_sources: int,
    where: str,
    settings: PictureSettings,
    unread: Skipped = (),
) -> FolderImages:
    """Read pictures in two passes: the headers decide on the array, then they are decoded.

    Args:
        sources: Called once for each pass; gives a name and a path or bytes for each picture.
        num_sources: How many there are, 1 or more.
        where: Where they come from, for a message.
        settings: What to make of them.
        unread: What was skipped before.

    Raises:
        DataError: No picture can be used, or the images need too much memory.
        ImageError: The settings are strict, and a picture cannot be used.
    """
    passes = _Passes(sources, num_sources, settings)
    headers = {
        position: header for position, _, header in passes.run(read_header, range(num_sources))
    }
    if not headers:
        raise passes.nothing_left(where)
    images = _allocate(list(headers.values()), where, settings)
    _, height, width, depth = images.shape
    names: list[str] = []
    positions: list[int] = []
    num_resized = 0
    for position, name, picture in passes.run(decode, headers):
        num_resized += picture.shape[:2] != (height, width)
        fitted = fit_channels(fit_size(picture, height, width, settings.fit), depth)
        if fitted.dtype != images.dtype:
            fitted = fitted / np.float32(255)
        images[len(names)] = fitted
        names.append(name)
        positions.append(position)
    if not names:
        raise passes.nothing_left(where)
    skipped = tuple(passes.skipped[position] for position in sorted(passes.skipped))
    return FolderImages(
        images[: len(names)], tuple(names), num_resized, (*unread, *skipped), tuple(positions)
    )


def _present(source: Source | None, name: str) -> Source:
    if source is None:
        raise ImageError(f"A picture must hold data; {name} holds none. Leave it out.")
    return source


def _allocate(headers: Sequence[Header], where: str, settings: PictureSettings) -> NDArray[Any]:
    height, width = _common_size(headers) if settings.size is None else check_size(settings.size)
    found = {header.channels for header in headers}
    depth = settings.channels or next(count for count in reversed(CHANNELS) if count in found)
    dtype = np.result_type(*{header.dtype for header in headers})
    shape = (len(headers), height, width, depth)
    check_memory(
        shape,
        dtype,
        f"{len(headers):,} images of {height} x {width} from {where}",
        "Choose a smaller size, or fewer pictures.",
    )
    return np.empty(shape, dtype)


def _common_size(headers: Sequence[Header]) -> tuple[int, int]:
    sizes = {(header.height, header.width) for header in headers}
    if len(sizes) == 1 and max(max(sizes)) <= LARGEST_COMMON_SIDE:
        return sizes.pop()
    aspect = float(np.median([header.width / header.height for header in headers]))
    longer = float(np.median([max(header.height, header.width) for header in headers]))
    longer = min(LARGEST_MIXED_SIDE, longer)

    def settle(side: float) -> int:
        return max(SMALLEST_SIDE, round(side / 4) * 4)

    return settle(longer / max(aspect, 1)), settle(longer * min(aspect, 1))
