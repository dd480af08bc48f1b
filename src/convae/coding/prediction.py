"""What a byte is likely to be, from its neighbors, and what is near it, by the distance from that.

In photographs the same differences come at any brightness, so that a network which sees differences
learns from fewer images. The prediction is the median of the left neighbor, the upper one, and
their sum less the one between them (Weinberger, Seroussi and Sapiro, "The LOCO-I lossless image
compression algorithm", 2000); of a plane behind the first, that of its difference to the plane
before. Of a value of 16 bits, the low byte is predicted from whole values, as far as the high one
leaves room; and there no plane is predicted from another value's. All are integers.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from convae.coding.waves import NEAREST

Bytes = NDArray[np.uint8]
Integers = NDArray[np.signedinteger[Any]]

LARGEST = 255
# Where a distance of 0 stands among the bytes: as an input, and as what is coded. There the
# distances from -8 to 7 share their high half.
INPUT_CENTER, CODED_CENTER = 128, 136
# Left, above, and between them.
_MEDIAN_OF = slice(NEAREST.index((-1, -1)) + 1)


def predict(inputs: Bytes, plane: int, bits: int) -> Integers:
    """The prediction of a plane's bytes.

    Args:
        inputs: uint8 `(num_planes, window and pixel, num_bytes)`, as the networks have them; of the
            planes before, the pixel itself is known.
        plane: Which plane is predicted.
        bits: Of a value: 8, or 16, of which the high byte is one plane and the low one the next.

    Returns:
        int16, or int32 where values have 16 bits, `(num_bytes,)`, from 0 to 255.
    """
    near = _values(inputs, plane, bits, _MEDIAN_OF)
    if bits == 16:
        found = _median(near)
        found -= _base(inputs, plane, bits)
        return np.clip(found, 0, LARGEST, out=found)
    if not plane:
        return _median(near)
    near -= inputs[plane - 1, _MEDIAN_OF]
    found = _median(near)
    found += inputs[plane - 1, -1]
    return np.clip(found, 0, LARGEST, out=found)


def relative(inputs: Bytes, plane: int, bits: int) -> Bytes:
    """Inputs by their distance from what they are near.

    A window of the plane itself, and one of a plane behind it, are told from the plane's
    prediction, which stands in place of the pixel; one of a plane before it from its pixel, in
    place of which is the distance from its own prediction. A low byte's window is one of whole
    values. Distances are cut to a byte.

    Args:
        inputs: As in `predict`.
        plane: Which plane is to be coded.
        bits: As in `predict`.

    Returns:
        uint8, of the same shape.
    """
    found = np.empty_like(inputs)
    for other in range(len(inputs)):
        values = _values(inputs, other, bits, slice(None))
        if other > plane:
            center = _median(values[_MEDIAN_OF])
            pixel = center & LARGEST
        else:
            pixel = predict(inputs, other, bits)
            center = pixel + _base(inputs, other, bits)
            if other < plane:
                pixel = values[-1] - center + INPUT_CENTER
                center = values[-1].copy()
        window = values[:-1]
        window -= center
        window += INPUT_CENTER
        found[other, :-1] = np.clip(window, 0, LARGEST, out=window)
        found[other, -1] = np.clip(pixel, 0, LARGEST)
    return found


def _values(inputs: Bytes, plane: int, bits: int, places: slice) -> Integers:
    """Bytes of a plane; of a low one, the values that they end."""
    if bits == 8:
        return inputs[plane, places].astype(np.int16)
    values = inputs[plane, places].astype(np.int32)
    if plane % 2:
        values += inputs[plane - 1, places].astype(np.int32) << 8
    return values


def _base(inputs: Bytes, plane: int, bits: int) -> Any:  # noqa: ANN401 # or a number
    """What the high byte, if there is one, adds to the plane's byte of the pixel itself."""
    return inputs[plane - 1, -1].astype(np.int32) << 8 if bits == 16 and plane % 2 else 0


def _median(near: Integers) -> Integers:
    """Of the left and the upper neighbor, and of their sum less the one between."""
    left, above, between = near
    found: Integers = left + above - between
    return np.clip(found, np.minimum(left, above), np.maximum(left, above), out=found)
