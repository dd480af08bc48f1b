"""Pictures with exactly the integers they hold, each at its own size."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from convae.errors import ImageError
from convae.images.gather import Progress, check_one_frame, frames_note, present
from convae.images.pictures import Source, decode_exact
from convae.storage.files import printable

# Pictures are collected up to this much memory, so that those of one size come together.
BATCH_BYTES = 1 << 26

Kind: TypeAlias = tuple[tuple[int, ...], np.dtype[Any]]
Reader: TypeAlias = Callable[[Source, str], tuple[NDArray[Any], bool]]


def exact_pictures(
    sources: Iterable[tuple[str, Source | None]],
    num_sources: int,
    skipped: list[tuple[str, str]],
    notes: list[str],
    *,
    strict: bool = False,
    progress: Progress | None = None,
    read: Reader = decode_exact,
) -> Iterator[tuple[NDArray[Any], list[str]]]:
    """Read pictures one after the other.

    Args:
        sources: A name and a path or bytes for each picture.
        num_sources: How many there are.
        skipped: Takes the name of each picture that cannot be used, and why.
        notes: Takes a sentence on pictures with more frames than the one that is read.
        strict: Refuse the first such picture of both sorts instead.
        progress: Called with the pictures read and all pictures.
        read: Decodes a picture.

    Yields:
        Pictures of one size and type, uint8 or uint16 `(num_images, height, width, channels)`, and
        their names. Of about 64 MiB of pictures, those of one size stand together.

    Raises:
        ImageError: `strict`, and a picture cannot be used.
    """
    waiting: dict[Kind, tuple[list[NDArray[Any]], list[str]]] = {}
    num_bytes = num_more_frames = 0
    for done, (name, source) in enumerate(sources, 1):
        try:
            picture, more_frames = read(present(source, name), printable(name))
            if strict:
                check_one_frame(more_frames, name)
        except ImageError as error:
            if strict:
                raise
            skipped.append((name, str(error)))
        else:
            num_more_frames += more_frames
            pictures, own = waiting.setdefault((picture.shape, picture.dtype), ([], []))
            pictures.append(picture)
            own.append(name)
            num_bytes += picture.nbytes
        if num_bytes >= BATCH_BYTES:
            yield from _batches(waiting)
            waiting, num_bytes = {}, 0
        if progress is not None:
            progress(done, num_sources)
    yield from _batches(waiting)
    notes += frames_note(num_more_frames)


def _batches(
    waiting: dict[Kind, tuple[list[NDArray[Any]], list[str]]],
) -> Iterator[tuple[NDArray[Any], list[str]]]:
    for pictures, names in waiting.values():
        yield np.stack(pictures), names
