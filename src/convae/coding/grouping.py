"""How many images stand in a block, and how many blocks are coded together: speed and memory."""

import math
from collections.abc import Iterable, Iterator
from itertools import pairwise

from convae.coding.blocks import MOST_IMAGES, Block, block_size
from convae.coding.waves import ROWS_ABOVE, SIDE


def images_a_block(
    num_images: int, shape: tuple[int, ...], bytes_a_value: int, most_bytes: int
) -> int:
    """How many images of one shape a writer puts in a block.

    Args:
        num_images: How many there are.
        shape: Height, width and channels of each.
        bytes_a_value: 1 or 2.
        most_bytes: What the images of a block may take, if they are more than one.
    """
    most = most_bytes // (math.prod(shape) * bytes_a_value)
    return block_size(num_images, min(MOST_IMAGES, max(1, most)))


def parts_together(
    num_images: int, a_block: int, shape: tuple[int, ...], bytes_a_value: int, most_bytes: int
) -> Iterator[slice]:
    """Images of whole blocks, some blocks together; then those that are left.

    Args:
        num_images: How many there are.
        a_block: How many stand in a block.
        shape: Height, width and channels of each.
        bytes_a_value: 1 or 2.
        most_bytes: What those of one part may take, if they are more than one block.
    """
    whole = num_images // a_block * a_block
    together = max(1, _most_together(shape, bytes_a_value, most_bytes) // a_block) * a_block
    edges = [*range(0, whole, together), whole, num_images]
    return (slice(*pair) for pair in pairwise(edges) if pair[0] < pair[1])


def blocks_together(blocks: Iterable[Block], most_bytes: int) -> Iterator[list[Block]]:
    """Blocks of images of one shape and type, as many at a time as to decode together."""
    group: list[Block] = []
    num_images = 0
    for block in blocks:
        kind = block.kind
        num_images += kind.num_images
        if group and num_images > _most_together(kind.shape[1:], kind.bits // 8, most_bytes):
            yield group
            group, num_images = [], kind.num_images
        group.append(block)
    if group:
        yield group


def _most_together(shape: tuple[int, ...], bytes_a_value: int, most_bytes: int) -> int:
    """How many images of one shape to code together, give or take a block.

    They have so many bytes, and with the margins around them at most twice as many: around images
    of a few pixels these take the most, and waves are long.
    """
    height, width, channels = shape
    pixel = channels * bytes_a_value
    with_margins = pixel * (height + ROWS_ABOVE) * (width + 2 * SIDE)
    return min(most_bytes // (pixel * height * width), 2 * most_bytes // with_margins)
