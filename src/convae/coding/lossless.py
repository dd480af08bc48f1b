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
from convae.coding.prediction import LARGEST
from convae.coding.rans import Decoder, encode
from convae.coding.threads import Run, do_in_parts
from convae.coding.waves import OFFSETS, Canvas, Wave, waves

Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]
Bounds = NDArray[np.int32]
# Takes the bounds of the next halves, `(17, num_bytes)`; gives the halves, `(num_bytes,)`.
Coder = Callable[[Bounds], Integers]
# Of a plane, and what is taken from its bytes, modulo 256: what codes high halves, and low ones.
Coders = Callable[[int, Integers], tuple[Coder, Coder]]

PIXELS_AT_A_TIME = 4096


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
    planes: Bytes, coding: PlaneCoding, num_lanes: int, num_streams: int = 1, run: Run = map
) -> list[bytes]:
    """Code images of one size.

    Args:
        planes: uint8 `(num_streams * num_images, height, width, num_planes)`, stream by stream.
        coding: How; with values that its step allows.
        num_lanes: As in `convae.coding.rans.encode`.
        num_streams: Over how many streams the images are shared out.
        run: `map`, or that of threads that share the work.

    Returns:
        The bytes of each stream.
    """
    canvas = Canvas.of(planes)
    _, height, width, _ = planes.shape
    # Of each byte 16 bytes, which is most of what encoding takes.
    groups: list[tuple[Bounds, Bounds]] = []

    def record(bounds: Bounds, halves: Integers) -> Integers:
        index = np.arange(len(halves))
        starts = bounds[halves, index]
        frequencies = bounds[halves + 1, index] - starts
        groups.append(
            (
                _by_stream(starts, num_streams, canvas.num_images),
                _by_stream(frequencies, num_streams, canvas.num_images),
            )
        )
        return halves

    for wave in waves(height, width):
        known = canvas.values[:, canvas.places(wave)].astype(np.int64)

        def coders(plane: int, origin: Integers, known: Integers = known) -> tuple[Coder, Coder]:
            high, low = np.divmod(known[plane].ravel() - origin & LARGEST, HALF)
            return (lambda bounds: record(bounds, high)), (lambda bounds: record(bounds, low))

        _walk(canvas, wave, (height, width), coding, coders, run)
    return encode(groups, num_lanes, num_streams)


def decode_planes(
    streams: Sequence[bytes],
    shape: tuple[int, int, int],
    coding: PlaneCoding,
    num_lanes: int,
    run: Run = map,
) -> Bytes:
    """Undo `encode_planes`.

    Args:
        streams: What it returned.
        shape: Number of images of each stream, height and width.
        coding: As given to it.
        num_lanes: As given to it.
        run: As given to it.

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
        _walk(canvas, wave, (height, width), coding, lambda *_: (take, take), run)
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
    coders: Coders,
    run: Run,
) -> None:
    """Code one wave, plane by plane, and write what is known then on the canvas."""
    places = canvas.places(wave)
    windows = canvas.windows(places)
    num_planes, _, num_pixels, num_images = windows.shape
    inputs = np.zeros((num_planes, len(OFFSETS) + 1, num_pixels * num_images), np.uint8)
    inputs[:, :-1] = windows.reshape(num_planes, len(OFFSETS), -1)
    flat = (inputs[:, :-1].min(axis=1) == inputs[:, :-1].max(axis=1)).all(axis=0)
    rows, columns = places_of(wave.rows, size[0]), places_of(wave.columns, size[1])
    spots = np.repeat(rows * NUM_PLACES + columns, num_images)
    keys = spots
    for values in inputs[:, 0]:
        keys = keys << 8 | values
    for plane in range(num_planes):
        prefix = inputs[plane - 1, -1].astype(np.int64)
        if plane % coding.bytes_a_value == 0:
            prefix[:] = 0
        seen = _Seen(inputs, spots, prefix, keys, flat)
        inputs[plane, -1] = _code_plane(seen, plane, coding, coders, run)
        canvas.values[plane, places] = inputs[plane, -1].reshape(num_pixels, num_images)
        # Of 4 planes, 7 bytes and the place fill the 64 bits: the last one's value is not needed.
        keys = keys << 8 | inputs[plane, -1]


@dataclass(frozen=True, eq=False)
class _Seen:
    """What is known of the pixels of a wave, of all images, before a byte of theirs is.

    Args:
        inputs: uint8 `(num_planes, window and pixel, num_pixels)`.
        spots: int64 `(num_pixels,)`: where in the image, as the network takes it.
        prefix: int64 `(num_pixels,)`: the byte of the same value before, if there is one, or 0.
        keys: int64 `(num_pixels,)`: the same for pixels of one context, if that is flat.
        flat: bool `(num_pixels,)`: whether the window is of one value throughout.
    """

    inputs: Bytes
    spots: Integers
    prefix: Integers
    keys: Integers
    flat: NDArray[np.bool_]


def _code_plane(seen: _Seen, plane: int, coding: PlaneCoding, coders: Coders, run: Run) -> Integers:
    """Code one byte of each pixel of a wave, in two halves; int64 `(num_pixels,)`."""
    network = coding.networks[plane]
    origin = network.origin(seen.inputs)
    code_high, code_low = coders(plane, origin)
    chosen, back = _kept_once(seen.keys, seen.flat)
    hidden = np.empty((len(chosen), network.num_hidden), np.float32)
    bounds = np.empty((HALF + 1, len(chosen)), np.int32)
    halves = np.arange(HALF)[:, np.newaxis]

    def predict_high(part: slice) -> None:
        own = chosen[part]
        hidden[part] = network.hidden(seen.inputs[..., own], seen.spots[own])
        first = halves * HALF + origin[own]
        possible = _possible(first, HALF, seen.prefix[own], plane, coding)
        bounds[:, part] = network.high_bounds(hidden[part], possible)

    do_in_parts(run, predict_high, len(chosen), PIXELS_AT_A_TIME)
    high = code_high(bounds.take(back, axis=1))
    first = high * HALF + origin
    # Of one context, those with the same high half.
    pairs, back_low = _kept_once(back * HALF + high, seen.flat)
    low_bounds = np.empty((HALF + 1, len(pairs)), np.int32)

    def predict_low(part: slice) -> None:
        own = pairs[part]
        possible = _possible(first[own] + halves, 1, seen.prefix[own], plane, coding)
        low_bounds[:, part] = network.low_bounds(hidden[back[own]], high[own], possible)

    do_in_parts(run, predict_low, len(pairs), PIXELS_AT_A_TIME)
    low = code_low(low_bounds.take(back_low, axis=1))
    whole: Integers = first + low & LARGEST
    return whole


def _possible(
    first: Integers, count: int, prefix: Integers, plane: int, coding: PlaneCoding
) -> NDArray[np.bool_] | None:
    """Of so many bytes from each first one on, modulo 256, whether the step allows one.

    Args:
        first: int64 `(16, num_bytes)`.
        count: How many of them follow each other.
        prefix: int64 `(num_bytes,)`: the byte of the same value before, if there is one, or 0.
        plane: Whose bytes they are.
        coding: How they are coded.

    Returns:
        bool `(16, num_bytes)`; None where all are allowed.
    """
    if coding.step == 1:
        return None
    bits = 8 * (coding.bytes_a_value - 1 - plane % coding.bytes_a_value)
    largest = (1 << 8 * coding.bytes_a_value) - 1

    def one_of(low: Integers, high: Integers) -> NDArray[np.bool_]:
        smallest = prefix * (LARGEST + 1) + low << bits
        last = (prefix * (LARGEST + 1) + high + 1 << bits) - 1
        found: NDArray[np.bool_] = last // coding.step * coding.step >= smallest
        found |= last == largest
        return found

    first = first & LARGEST
    last = first + count - 1
    beyond = last > LARGEST
    possible = one_of(first, np.minimum(last, LARGEST))
    if beyond.any():
        possible |= beyond & one_of(np.zeros_like(first), last & LARGEST)
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
