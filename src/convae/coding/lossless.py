"""Images as bytes and back, bit for bit, with the distributions of context networks.

An image is a stack of planes, one for each byte of a pixel, and every plane has its network. The
encoder walks through the waves as the decoder does, with the same code, on the finished images.

With a step above 1 only its multiples and the largest value are coded, as values of 8 or 16 bits;
what cannot come has no share in the distributions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convae.coding.contexts import HALF, NUM_PLACES, ContextNetwork, places_of
from convae.coding.rans import Decoder, encode
from convae.coding.waves import OFFSETS, Canvas, Wave, waves

Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]
Bounds = NDArray[np.int32]
# Takes the bounds of the next halves, `(17, num_bytes)`; gives the halves, `(num_bytes,)`.
Coder = Callable[[Bounds], Integers]

_HALF_BITS = 4


@dataclass(frozen=True, eq=False)
class PlaneCoding:
    """How the planes of an image are coded.

    Args:
        networks: One for each plane.
        bytes_a_value: 1, or 2 where a pixel's value is its high byte in one plane and its low byte
            in the next.
        step: Values are multiples of it, or the largest.
    """

    networks: Sequence[ContextNetwork]
    bytes_a_value: int = 1
    step: int = 1


def encode_planes(
    planes: Bytes, coding: PlaneCoding, num_lanes: int, num_streams: int = 1
) -> list[bytes]:
    """Code images of one size.

    Args:
        planes: uint8 `(num_streams * num_images, height, width, num_planes)`, stream by stream.
        coding: How; with values that its step allows.
        num_lanes: As of `convae.coding.rans.encode`.
        num_streams: Over how many streams the images are shared out.

    Returns:
        The bytes of each stream.
    """
    canvas = Canvas.of(planes)
    _, height, width, _ = planes.shape
    groups: list[tuple[Integers, Integers]] = []

    def record(bounds: Bounds, halves: Integers) -> Integers:
        index = np.arange(len(halves))
        starts = bounds[halves, index]
        frequencies = bounds[halves + 1, index] - starts
        groups.append(
            (
                _by_stream(starts.astype(np.int64), num_streams, canvas.num_images),
                _by_stream(frequencies.astype(np.int64), num_streams, canvas.num_images),
            )
        )
        return halves

    for wave in waves(height, width):
        known = canvas.values[:, canvas.places(wave)].astype(np.int64)

        def coders(plane: int, known: Integers = known) -> tuple[Coder, Coder]:
            high, low = np.divmod(known[plane].ravel(), HALF)
            return (lambda bounds: record(bounds, high)), (lambda bounds: record(bounds, low))

        _walk(canvas, wave, (height, width), coding, coders)
    return encode(groups, num_lanes, num_streams)


def decode_planes(
    streams: Sequence[bytes], shape: tuple[int, int, int], coding: PlaneCoding, num_lanes: int
) -> Bytes:
    """Undo `encode_planes`.

    Args:
        streams: What it returned.
        shape: Number of images of each stream, height and width.
        coding: As given to it.
        num_lanes: As given to it.

    Returns:
        uint8 `(num_streams * num_images, height, width, num_planes)`.

    Raises:
        ParameterError: A stream is damaged in a way that shows.
    """
    num_images, height, width = shape
    num_streams = len(streams)
    decoder = Decoder(streams, num_lanes)
    canvas = Canvas(num_streams * num_images, height, width, len(coding.networks))

    def take(bounds: Bounds) -> Integers:
        symbols = decoder.decode(_by_stream(bounds, num_streams, canvas.num_images))
        return symbols.reshape(num_streams, -1, num_images).transpose(1, 0, 2).ravel()

    for wave in waves(height, width):
        _walk(canvas, wave, (height, width), coding, lambda plane: (take, take))  # noqa: ARG005
    decoder.finish()
    return canvas.planes()


def _by_stream(values: NDArray[Any], num_streams: int, num_images: int) -> NDArray[Any]:
    """What is by pixel and image of all streams, `(..., num_bytes)`, by stream, pixel and image."""
    parts = values.reshape(*values.shape[:-1], -1, num_streams, num_images // num_streams)
    parts = np.moveaxis(parts, -2, -3)
    return parts.reshape(*values.shape[:-1], num_streams, -1)


def _walk(
    canvas: Canvas,
    wave: Wave,
    size: tuple[int, int],
    coding: PlaneCoding,
    coders: Callable[[int], tuple[Coder, Coder]],
) -> None:
    """Code one wave, plane by plane, and write what is known then on the canvas."""
    places = canvas.places(wave)
    windows = canvas.windows(places)
    num_planes, _, num_pixels, num_images = windows.shape
    inputs = np.zeros((num_planes, len(OFFSETS) + 1, num_pixels * num_images), np.uint8)
    inputs[:, :-1] = windows.reshape(num_planes, len(OFFSETS), -1)
    flat = (inputs[:, :-1].min(axis=1) == inputs[:, :-1].max(axis=1)).all(axis=0)
    rows = np.repeat(places_of(wave.rows, size[0]), num_images)
    columns = np.repeat(places_of(wave.columns, size[1]), num_images)
    keys = rows * NUM_PLACES + columns
    for values in inputs[:, 0]:
        keys = keys << 8 | values
    for plane, network in enumerate(coding.networks):
        code_high, code_low = coders(plane)
        chosen, back = _kept_once(keys, flat)
        hidden = network.hidden(
            inputs[..., chosen].reshape(-1, len(chosen)), rows[chosen], columns[chosen]
        )
        prefix = inputs[plane - 1, -1].astype(np.int64)
        if plane % coding.bytes_a_value == 0:
            prefix[:] = 0
        possible = _possible(prefix[chosen], 2 * _bytes_left(plane, coding) - 1, coding)
        high = code_high(network.high_bounds(hidden, possible)[:, back])
        prefix = prefix * HALF + high
        # Of one context, those with the same high half.
        pairs, back_low = _kept_once(back * HALF + high, flat)
        possible = _possible(prefix[pairs], 2 * _bytes_left(plane, coding) - 2, coding)
        bounds = network.low_bounds(hidden[back[pairs]], high[pairs], possible)
        low = code_low(bounds[:, back_low])
        inputs[plane, -1] = high * HALF + low
        canvas.values[plane, places] = inputs[plane, -1].reshape(num_pixels, num_images)
        # Of 4 planes, 7 bytes and the place fill the 64 bits: the last one's value is not needed.
        keys = keys << 8 | inputs[plane, -1]


def _bytes_left(plane: int, coding: PlaneCoding) -> int:
    """Bytes of a value from this plane's on."""
    return coding.bytes_a_value - plane % coding.bytes_a_value


def _possible(prefix: Integers, halves_left: int, coding: PlaneCoding) -> NDArray[np.bool_] | None:
    """Which next halves lead to a value that the step allows, bool `(16, num_bytes)`."""
    if coding.step == 1:
        return None
    bits = _HALF_BITS * halves_left
    first = (prefix * HALF + np.arange(HALF)[:, np.newaxis]) << bits
    last = first + (1 << bits) - 1
    largest = (1 << 8 * coding.bytes_a_value) - 1
    possible: NDArray[np.bool_] = (last // coding.step * coding.step >= first) | (last == largest)
    return possible


def _kept_once(keys: Integers, shared: NDArray[np.bool_]) -> tuple[Integers, Integers]:
    """Indices of the keys to keep, where equal ones are kept once if shared; and the way back.

    Windows of one value throughout are shared: they are found quickly, and images have many.
    """
    common, others = np.flatnonzero(shared), np.flatnonzero(~shared)
    _, first, inverse = np.unique(keys[common], return_index=True, return_inverse=True)
    back = np.empty(len(keys), np.int64)
    back[common] = inverse
    back[others] = len(first) + np.arange(len(others))
    return np.concatenate([common[first], others]), back
