"""The plan of a network from images to images of any size: a residual U-Net without biases.

Two by two pixels are taken together at once, so that all layers work at half the resolution or
less (as FFDNet does). Without biases the network of a brighter image is the brighter result, which
carries it over to strengths of noise that it never saw (Mohan et al., "Robust and interpretable
blind image denoising via bias-free convolutional neural networks", 2020).

Training and applying read this plan; both pass their own operations on arrays.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from convae.checks import whole_number
from convae.errors import ParameterError

KERNEL_SIDE = 3
# Bounds that no small network meets: they keep a hostile file from claiming a huge one.
LARGEST_WIDTH, MOST_LEVELS, MOST_BLOCKS, MOST_PLANES = 1_024, 6, 16, 1_024
MOST_PARAMETERS = 2**22
LARGEST_REACH = 128

Array = TypeVar("Array")


class Operations(Protocol[Array]):
    """What the plan needs to compute with arrays `(batch, height, width, planes)`."""

    def convolve(self, images: Array, kernel: Array) -> Array:
        """A 3x3 convolution with zeros around the image; kernel `(3, 3, in, out)`."""

    def mix(self, images: Array, matrix: Array) -> Array:
        """Each pixel's planes times a matrix `(in, out)`."""

    def rectify(self, images: Array) -> Array:
        """Zero instead of what is negative."""

    def add(self, first: Array, second: Array) -> Array:
        """The sum."""

    def gather(self, images: Array) -> Array:
        """Half the sides: the planes of two by two pixels one after the other."""

    def scatter(self, images: Array) -> Array:
        """The inverse of `gather`."""


@dataclass(frozen=True, slots=True)
class UNet:
    """The shape of one such network.

    Args:
        inputs: Planes of what goes in.
        outputs: Planes of what comes out.
        widths: Planes within, by level; each level has half the sides of the one before, and the
            first one half those of the image.
        blocks: Pairs of convolutions at each level, on the way down and again on the way up; at the
            last level there is one way.

    Raises:
        ParameterError: A number is outside its range.
    """

    inputs: int
    outputs: int
    widths: tuple[int, ...]
    blocks: tuple[int, ...]

    def __post_init__(self) -> None:
        for name in ("inputs", "outputs"):
            number = whole_number(getattr(self, name), name, 1, MOST_PLANES)
            object.__setattr__(self, name, number)
        for name, most in (("widths", LARGEST_WIDTH), ("blocks", MOST_BLOCKS)):
            given = getattr(self, name)
            if not isinstance(given, tuple | list) or not 1 <= len(given) <= MOST_LEVELS:
                raise ParameterError(
                    f"{name} must be a tuple of 1 to {MOST_LEVELS} whole numbers, one for each "
                    f"level; received {given!r:.80}. Pass for example (32, 64)."
                )
            settled = tuple(whole_number(number, f"each of {name}", 1, most) for number in given)
            object.__setattr__(self, name, settled)
        if len(self.widths) != len(self.blocks):
            raise ParameterError(
                f"widths and blocks must have one number for each level; received "
                f"{len(self.widths)} and {len(self.blocks)}. Make them equally long."
            )
        if self.num_parameters > MOST_PARAMETERS or self.reach > LARGEST_REACH:
            raise ParameterError(
                f"Such a network may have at most {MOST_PARAMETERS:,} parameters and a reach of "
                f"{LARGEST_REACH} pixels; received {self.num_parameters:,} and {self.reach}. Make "
                f"widths or blocks smaller."
            )

    @property
    def stride(self) -> int:
        """Sides must be multiples of this."""
        return 1 << len(self.widths)

    @property
    def reach(self) -> int:
        """An output pixel depends on no input pixel that is further away, in pixels."""
        convolutions = [2 * count * self._ways(level) for level, count in enumerate(self.blocks)]
        convolutions[0] += 2
        steps = sum(count << (level + 1) for level, count in enumerate(convolutions))
        # All pixels of a square of the last level see the same.
        return steps + self.stride - 1

    def _ways(self, level: int) -> int:
        """Down and up again, or at the last level once."""
        return 1 if level == len(self.widths) - 1 else 2

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight, in the order in which they are used."""
        return dict(self._weights())

    @property
    def num_parameters(self) -> int:
        """How many numbers all weights hold together."""
        return sum(map(math.prod, self.weight_shapes().values()))

    def _weights(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        last = len(self.widths) - 1
        yield "first", (KERNEL_SIDE, KERNEL_SIDE, 4 * self.inputs, self.widths[0])
        for level, width in enumerate(self.widths):
            yield from self._block_weights("down", level)
            if level < last:
                yield f"halve_{level}", (4 * width, self.widths[level + 1])
        for level in reversed(range(last)):
            yield f"double_{level}", (self.widths[level + 1], 4 * self.widths[level])
            yield from self._block_weights("up", level)
        yield "last", (KERNEL_SIDE, KERNEL_SIDE, self.widths[0], 4 * self.outputs)

    def _block_weights(self, way: str, level: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        width = self.widths[level]
        for block in range(self.blocks[level]):
            for part in "ab":
                yield f"{way}_{level}_{block}{part}", (KERNEL_SIDE, KERNEL_SIDE, width, width)

    def compute(
        self, images: Array, weights: Mapping[str, Array], operations: Operations[Array]
    ) -> Array:
        """What the network makes of images.

        Args:
            images: `(batch, height, width, inputs)`, sides being multiples of `stride`.
            weights: As `weight_shapes` says.
            operations: How to compute with such arrays.

        Returns:
            `(batch, height, width, outputs)`.
        """
        ops, last = operations, len(self.widths) - 1

        def blocks(volume: Array, way: str, level: int) -> Array:
            for block in range(self.blocks[level]):
                name = f"{way}_{level}_{block}"
                inner = ops.rectify(ops.convolve(volume, weights[f"{name}a"]))
                volume = ops.add(volume, ops.convolve(inner, weights[f"{name}b"]))
            return volume

        volume = ops.convolve(ops.gather(images), weights["first"])
        passed: list[Array] = []
        for level in range(last + 1):
            volume = blocks(volume, "down", level)
            if level < last:
                passed.append(volume)
                volume = ops.mix(ops.gather(volume), weights[f"halve_{level}"])
        for level in reversed(range(last)):
            volume = ops.scatter(ops.mix(volume, weights[f"double_{level}"]))
            volume = blocks(ops.add(volume, passed[level]), "up", level)
        return ops.scatter(ops.convolve(volume, weights["last"]))

    def to_json(self) -> dict[str, Any]:
        """The same numbers as plain JSON values."""
        return {
            "inputs": self.inputs,
            "outputs": self.outputs,
            "widths": list(self.widths),
            "blocks": list(self.blocks),
        }

    @classmethod
    def from_json(cls, document: object) -> "UNet":
        """The inverse of `to_json`, for an untrusted document.

        Raises:
            ParameterError: A key is missing or unknown, or a number is outside its range.
        """
        names = {"inputs", "outputs", "widths", "blocks"}
        if not isinstance(document, dict) or set(document) != names:
            raise ParameterError(
                f"A U-Net must have the keys {sorted(names)}; received {document!r:.80}."
            )
        return cls(**document)
