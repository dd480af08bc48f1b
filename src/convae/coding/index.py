"""What the index of an archive holds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a block is that is no picture's, or a picture in tiles.

    Args:
        offset: Of its record, from the beginning of the file.
        num_images: How many it holds; a picture is 1.
    """

    offset: int
    num_images: int
