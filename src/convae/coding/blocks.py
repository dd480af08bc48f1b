"""A block: some images of one size, coded together, with a checksum of what they decode to.

A block is coded by context networks, or, where that is shorter or the images are of another kind,
stored with LZMA, so that there are no images that cannot be coded. Or it has the latents alone,
from which a decoder makes images that are like those coded.
"""

import enum
import lzma
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from convae.coding.contextmodel import ContextModel
from convae.coding.latents import Codes, LatentModel
from convae.coding.lossless import PlaneCoding, decode_planes, encode_planes
from convae.coding.packing import LZMA, checksum, little_endian, small_lzma, unlzma
from convae.coding.rans import MOST_LANES
from convae.coding.threads import Run
from convae.coding.waves import num_waves
from convae.errors import ModelFileError, ParameterError

# Bounds of what decoding a block can take, whatever a hostile archive says.
MOST_IMAGES = 4096
MOST_BYTES = 1 << 26
LARGEST_SIDE = 65_535
MOST_WAVES = 20_000
# A block's images have so many bytes together, one image more or less.
BLOCK_BYTES = 1 << 19
# A lane costs 6 bytes, and makes decoding faster.
BYTES_A_LANE = 1 << 14
CODES_A_LANE = 1 << 11
# A block of latents alone has so many; what is around them is then a twentieth of a byte an image.
IMAGES_OF_LATENTS = 1024
LARGEST_ERROR = 127
LONGEST_NAME = 4096

Model = ContextModel | LatentModel

_HEADER = struct.Struct("<BBBBHHHHIII")


class Method(enum.IntEnum):
    """How a block is coded."""

    STORED = 0
    CONTEXTS = 1
    LATENTS = 2


@dataclass(frozen=True, slots=True)
class Kind:
    """What the images of a block have in common, and how they are coded.

    Args:
        method: How.
        bits: Of a value: 8 or 16.
        num_images: From 1 to 4,096.
        height: Rows, from 1 to 65,535.
        width: Columns, from 1 to 65,535.
        channels: From 1 to 4.
        step: All values are multiples of it, or the largest that there is.
        num_lanes: As in `convae.coding.rans.encode`.
    """

    method: Method
    bits: int
    num_images: int
    height: int
    width: int
    channels: int
    step: int
    num_lanes: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """That of the images together."""
        return self.num_images, self.height, self.width, self.channels

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the images."""
        return np.dtype(np.uint16 if self.bits == 16 else np.uint8)

    @property
    def num_bytes(self) -> int:
        """What the images take in memory."""
        return int(np.prod(self.shape)) * self.bits // 8


@dataclass(frozen=True, slots=True)
class Block:
    """Coded images.

    Args:
        kind: What they have in common.
        pixels_crc: CRC-32 of the images' values, little-endian.
        names: One for each image, or none.
        stream: The coded values.
    """

    kind: Kind
    pixels_crc: int
    names: tuple[str, ...]
    stream: bytes

    def to_bytes(self) -> bytes:
        """The block as it stands in an archive."""
        kind = self.kind
        names = b""
        if self.names:
            names = zlib.compress("\0".join(self.names).encode("utf-8", "surrogateescape"), 9)
        head = _HEADER.pack(
            kind.method, kind.bits, kind.channels, 0, kind.num_lanes % MOST_LANES, kind.step,
            kind.height, kind.width, kind.num_images, self.pixels_crc, len(names),
        )  # fmt: skip
        return head + names + self.stream

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`; the bytes may be hostile.

        Raises:
            ModelFileError: They break a rule.
        """
        if len(data) < _HEADER.size:
            raise refused(f"a block of {len(data)} bytes")
        (method, bits, channels, zero, num_lanes, step, height, width, num_images, crc, length) = (
            _HEADER.unpack_from(data)
        )
        if method not in list(Method) or bits not in (8, 16) or zero:
            raise refused(f"method {method}, {bits} bits and {zero}")
        kind = Kind(
            Method(method), bits, num_images, height, width, channels, step,
            num_lanes or MOST_LANES,
        )  # fmt: skip
        if not (1 <= num_images <= MOST_IMAGES and height and width and 1 <= channels <= 4):
            raise refused(f"a block of shape {kind.shape}")
        if kind.num_bytes > MOST_BYTES or (
            num_waves(height, width) > MOST_WAVES and method == Method.CONTEXTS
        ):
            raise refused(f"a block of shape {kind.shape}, which is too large")
        if not 1 <= step <= 2 * LARGEST_ERROR + 1:
            raise refused(f"a step of {step}")
        if length > len(data) - _HEADER.size:
            raise refused(f"names of {length} bytes in a block of {len(data)}")
        stream = data[_HEADER.size + length :]
        names = _names(data[_HEADER.size : _HEADER.size + length], num_images)
        return cls(kind, crc, names, stream)


def block_size(num_images: int, most: int) -> int:
    """How many images to put in a block, at most so many.

    Blocks of another size cannot be decoded beside them, so few images should be left over: none
    if up to a quarter more blocks than needed divide them evenly.
    """
    fewest = -(-num_images // most)
    counts = range(fewest, fewest + fewest // 4 + 1)
    return num_images // min(counts, key=lambda count: num_images % count)


def encode_blocks(
    images: NDArray[Any],
    names: Sequence[str],
    model: ContextModel,
    step: int,
    num_blocks: int,
    run: Run = map,
    small_memory: bool = False,
) -> list[Block]:
    """Code images of one size.

    Args:
        images: uint8 or uint16 `(num_images, height, width, channels)`, with values
            that the step allows.
        names: One for each image, or none.
        model: What codes them, if it can.
        step: As in `Kind`.
        num_blocks: Over how many blocks, of as many images each, they are shared out.
        run: As in `encode_planes`.
        small_memory: Let LZMA take memory by what it packs, and not 95 MB a thread; its bytes may
            be others.
    """
    _, height, width, channels = images.shape
    bits = 8 * images.dtype.itemsize
    groups = np.split(images, num_blocks)
    size = len(groups[0])
    num_bytes = groups[0].nbytes
    num_lanes = min(MOST_LANES, 1 + num_bytes // BYTES_A_LANE)
    packer = small_lzma(num_bytes) if small_memory else LZMA
    stored = list(run(lambda group: lzma.compress(little_endian(group), **packer), groups))
    coded: list[bytes] = stored
    fits = (bits, channels) == (model.bits, model.channels)
    if fits and num_waves(height, width) <= MOST_WAVES:
        coding = PlaneCoding(model.networks, bits // 8, step)
        coded = encode_planes(to_planes(images), coding, num_lanes, num_blocks, run)
    blocks = []
    for index, group in enumerate(groups):
        shorter = len(coded[index]) < len(stored[index])
        method = Method.CONTEXTS if shorter else Method.STORED
        lanes = num_lanes if shorter else 1
        kind = Kind(method, bits, size, height, width, channels, step, lanes)
        stream = coded[index] if shorter else stored[index]
        own = tuple(names[index * size : (index + 1) * size])
        blocks.append(Block(kind, checksum(group), own, stream))
    return blocks


def decode_blocks(blocks: Sequence[Block], model: Model, run: Run = map) -> NDArray[Any]:
    """The images of blocks of one kind.

    Args:
        blocks: One at least; all of one `Kind`.
        model: What coded them.
        run: As in `encode_planes`.

    Returns:
        uint8 or uint16 `(num_blocks * num_images, height, width, channels)`.

    Raises:
        ModelFileError: A block is damaged.
    """
    kind = blocks[0].kind
    streams = [block.stream for block in blocks]
    try:
        if kind.method is Method.STORED:
            parts = list(run(_unstored, blocks))
            images = np.concatenate(parts) if len(parts) > 1 else parts[0]
        elif isinstance(model, ContextModel):
            images = _from_contexts(streams, kind, model, run)
        else:
            images = _from_latents(streams, kind, model, run)
    except ParameterError as error:
        raise refused(f"'{error}'") from error
    for block, group in zip(blocks, np.split(images, len(blocks)), strict=True):
        if checksum(group) != block.pixels_crc:
            raise refused("images whose checksum is another one")
    return images


def encode_latents(
    codes: Codes, names: Sequence[str], model: LatentModel, run: Run = map
) -> tuple[Block, NDArray[np.uint8]]:
    """Code the latents of images alone, so that a decoded image is like the one that they are of.

    Args:
        codes: As `LatentModel.codes` gives them, of 1 to 4,096 images.
        names: One for each image, or none.
        model: What codes them.
        run: As in `encode_planes`.

    Returns:
        The block, and the images that it decodes to.

    Raises:
        ParameterError: The images have more codes than a block may have.
    """
    model.check_codes(len(codes))
    num_lanes = 1 + codes.size // CODES_A_LANE
    (stream,) = model.encode(codes, num_lanes)
    images = model.decoder.decode(codes, run)
    kind = Kind(Method.LATENTS, 8, len(codes), *model.shape, 1, num_lanes)
    return Block(kind, checksum(images), tuple(names), stream), images


def _from_contexts(
    streams: Sequence[bytes], kind: Kind, model: ContextModel, run: Run
) -> NDArray[Any]:
    if (kind.method, kind.bits, kind.channels) != (Method.CONTEXTS, model.bits, model.channels):
        raise ParameterError(
            f"method {kind.method}, {kind.channels} channels of {kind.bits} bits for a model of "
            f"contexts, {model.channels} of {model.bits}"
        )
    coding = PlaneCoding(model.networks, kind.bits // 8, kind.step)
    shape = kind.num_images, kind.height, kind.width
    return _from_planes(decode_planes(streams, shape, coding, kind.num_lanes, run), kind)


def _from_latents(
    streams: Sequence[bytes], kind: Kind, model: LatentModel, run: Run
) -> NDArray[Any]:
    if (kind.method, kind.bits, kind.shape[1:]) != (Method.LATENTS, 8, model.shape):
        raise ParameterError(
            f"method {kind.method}, shape {kind.shape[1:]} and {kind.bits} bits for a model of "
            f"latents, shape {model.shape}"
        )
    return model.decode(streams, kind.num_images, kind.num_lanes, run)


def _unstored(block: Block) -> NDArray[Any]:
    data = unlzma(block.stream, block.kind.num_bytes)
    dtype = block.kind.dtype
    values = np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype)
    return values.reshape(block.kind.shape)


def to_planes(images: NDArray[Any]) -> NDArray[np.uint8]:
    """Values as bytes, the highest first, uint8 `(num_images, height, width, num_planes)`."""
    big = np.ascontiguousarray(images, images.dtype.newbyteorder(">"))
    return big.view(np.uint8).reshape(*images.shape[:3], -1)


def _from_planes(planes: NDArray[np.uint8], kind: Kind) -> NDArray[Any]:
    values = planes.view(kind.dtype.newbyteorder(">")).astype(kind.dtype)
    return values.reshape(*planes.shape[:3], kind.channels)


def _names(data: bytes, num_images: int) -> tuple[str, ...]:
    if not data:
        return ()
    try:
        text = zlib.decompressobj().decompress(data, 5 * LONGEST_NAME * num_images)
    except zlib.error as error:
        raise refused(f"names that gave '{error}'") from error
    names = tuple(text.decode("utf-8", "surrogateescape").split("\0"))
    if len(names) != num_images:
        raise refused(f"{len(names)} names for {num_images} images")
    return names


def refused(what: str) -> ModelFileError:
    """The error that a part of an archive is `what`."""
    return ModelFileError(
        f"An archive must hold what was written; received {what}. Get the file again."
    )
