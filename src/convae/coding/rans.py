"""Interleaved rANS: symbols with a distribution each, as bytes, by integer arithmetic alone.

Source: Duda, "Asymmetric numeral systems: entropy coding combining speed of Huffman coding with
compression rate of arithmetic coding", 2013; interleaving: Giesen, "Interleaved entropy coders",
2014. Many coders, the lanes, work side by side on one stream of 16-bit words, so that NumPy does a
step for all of them at once.

Symbols come in groups; the distributions of a group may depend on the symbols of those before it.
Within a group, symbol *i* is of lane *i* modulo the number of lanes.

Guarantees:

1. The bytes follow from the symbols, their distributions and the number of lanes alone. Only
   integers are used, below 2^63, in the same order everywhere.
2. `Decoder` returns the symbols that `encode` was given, if it is given the same distributions.
3. The bytes are at most 6 for each lane, and a sixteenth of a bit for each thousand symbols, above
   the sum of log2(2^16 / frequency), rounded up to whole words.
4. Decoding never reads outside its bytes, whatever these are: bytes that end too soon, or that are
   not all used, or that leave a lane anywhere but where encoding began, are refused.
5. Not every changed byte is noticed by that alone: a checksum belongs around it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from convae.errors import ParameterError

Integers = NDArray[np.int64]
Places = NDArray[np.int32] | Integers

PRECISION = 16
TOTAL = 1 << PRECISION
# A state is from 2^32 up to but not 2^48, and gives up or takes in a word of 16 bits at a time.
_LOWEST_BITS, _WORD_BITS = 32, 16
_LOWEST = 1 << _LOWEST_BITS
_WORD = (1 << _WORD_BITS) - 1
_WORDS_A_STATE = 3
_SHIFTS = _WORD_BITS * np.arange(_WORDS_A_STATE)
MOST_LANES = 1 << 16


def encode(
    groups: Sequence[tuple[Places, Places]], num_lanes: int, num_streams: int = 1
) -> list[bytes]:
    """Code symbols, each given by its place in its own distribution; several streams side by side.

    Args:
        groups: For each group of symbols, in the order of decoding: their starts, int32
            or int64 `(num_streams, num_symbols)`, and their frequencies, of the same type and
            shape. A start is the sum of the frequencies of the smaller symbols; no frequency is
            below 1, no start below 0, and no sum of the two above 65,536.
        num_lanes: Of a stream, from 1 to 65,536. Each costs 6 bytes; many are fast.
        num_streams: How many streams, which have nothing to do with each other.

    Returns:
        The bytes of each stream: the last states of the lanes, then the words that decoding takes
        in.

    Raises:
        ParameterError: A frequency, a start or the number of lanes is outside its range.
    """
    _check_lanes(num_lanes)
    states = np.full((num_streams, num_lanes), _LOWEST, np.int64)
    given: list[tuple[NDArray[np.intp], Integers]] = []
    for starts, frequencies in reversed(groups):
        _check_places(starts, frequencies)
        for first in reversed(range(0, starts.shape[1], num_lanes)):
            part = slice(first, first + num_lanes)
            frequency = frequencies[:, part].astype(np.int64)
            active = states[:, : frequency.shape[1]]
            full = active >= frequency << _LOWEST_BITS
            given.append((full.nonzero()[0], active[full] & _WORD))
            active[full] >>= _WORD_BITS
            quotient = active // frequency
            active += quotient * (TOTAL - frequency)
            active += starts[:, part]
    last = (states[..., np.newaxis] >> _SHIFTS) & _WORD
    # What was given last is taken in first.
    of_stream = np.concatenate(
        [np.arange(num_streams).repeat(last[0].size)] + [streams for streams, _ in reversed(given)]
    )
    words = np.concatenate([last.ravel()] + [words for _, words in reversed(given)])
    order = of_stream.argsort(kind="stable")
    ends = np.bincount(of_stream, minlength=num_streams).cumsum()
    return [part.astype("<u2").tobytes() for part in np.split(words[order], ends[:-1])]


class Decoder:
    """Reads what `encode` wrote, a group at a time; of several streams side by side.

    Args:
        streams: The bytes of each stream, one at least. Their groups are of the same sizes.
        num_lanes: As in `encode`, the same for all streams.

    Raises:
        ParameterError: The number of lanes is outside its range, or the bytes of a stream are too
            few or of an odd number.
    """

    def __init__(self, streams: Sequence[bytes], num_lanes: int) -> None:
        _check_lanes(num_lanes)
        num_first = _WORDS_A_STATE * num_lanes
        for data in streams:
            if len(data) % 2:
                raise _damaged("an odd number of bytes")
            if len(data) < 2 * num_first:
                raise _damaged(f"{len(data)} bytes, too few for {num_lanes} lanes")
        self._words = np.frombuffer(b"".join(streams), "<u2").astype(np.int64)
        lengths = np.array([len(data) // 2 for data in streams])
        # The last word that each stream has, and the last one that it has taken in.
        self._last = lengths.cumsum() - 1
        firsts = self._last + 1 - lengths
        self._taken = firsts + num_first - 1
        parts = self._words[firsts[:, np.newaxis] + np.arange(num_first)]
        self._states: Integers = (parts.reshape(len(streams), num_lanes, -1) << _SHIFTS).sum(axis=2)
        if (self._states < _LOWEST).any():
            raise _damaged("a state that encoding never ends with")

    def decode(self, bounds: NDArray[np.int32]) -> Integers:
        """The symbols of the next group of each stream.

        Args:
            bounds: int32 `(num_values + 1, num_streams, num_symbols)`: for each symbol the starts
                of all its values, 256 at most, and 65,536 at the end; they rise from 0.

        Returns:
            int64 `(num_streams, num_symbols)`, from 0 to `num_values` - 1.

        Raises:
            ParameterError: The bytes of a stream end too soon.
        """
        _, num_streams, num_symbols = bounds.shape
        symbols = np.empty((num_streams, num_symbols), np.int64)
        num_lanes = self._states.shape[1]
        flat = bounds.reshape(-1)
        # Of a stream's first symbols, the places in a row of bounds.
        places = np.arange(num_streams)[:, np.newaxis] * num_symbols + np.arange(num_lanes)
        for first in range(0, num_symbols, num_lanes):
            part = slice(first, first + num_lanes)
            inner = bounds[1:-1, :, part]
            active = self._states[:, : inner.shape[2]]
            slots = active & _WORD
            below = inner <= slots.astype(np.int32)
            found = np.add.reduce(below.view(np.uint8), axis=0, dtype=np.uint8).astype(np.int64)
            symbols[:, part] = found
            found *= num_streams * num_symbols
            found += places[:, : inner.shape[2]]
            starts = flat[first:].take(found)
            found += num_streams * num_symbols
            self._step(active, slots, starts, flat[first:].take(found) - starts)
        self._check_taken()
        return symbols

    def decode_alike(self, bounds: NDArray[np.int32], num_symbols: int) -> Integers:
        """The symbols of the next group of each stream, where all have one distribution.

        Args:
            bounds: int32 `(num_values + 1,)`, as above.
            num_symbols: Of each stream.

        Returns:
            As `decode`.

        Raises:
            ParameterError: As in `decode`.
        """
        num_streams, num_lanes = self._states.shape
        symbols = np.empty((num_streams, num_symbols), np.int64)
        frequencies = np.diff(bounds)
        lookup = np.repeat(np.arange(len(frequencies)), frequencies)
        for first in range(0, num_symbols, num_lanes):
            found = symbols[:, first : first + num_lanes]
            active = self._states[:, : found.shape[1]]
            slots = active & _WORD
            found[...] = lookup.take(slots)
            self._step(active, slots, bounds.take(found), frequencies.take(found))
        self._check_taken()
        return symbols

    def _step(
        self,
        active: Integers,
        slots: Integers,
        starts: NDArray[np.int32],
        frequencies: NDArray[np.int32],
    ) -> None:
        """Take a symbol out of states, and words in where they became too small."""
        active >>= PRECISION
        active *= frequencies
        slots -= starts
        active += slots
        low = active < _LOWEST
        taken = low.cumsum(axis=1)
        taken += self._taken[:, np.newaxis]
        # A word for each lane, though only some need it; whether there are so many is seen later.
        refilled = active << _WORD_BITS
        refilled |= self._words.take(taken, mode="clip")
        np.copyto(active, refilled, where=low)
        self._taken = taken[:, -1]

    def _check_taken(self) -> None:
        if (self._taken > self._last).any():
            raise _damaged("an end before the last symbol")

    def finish(self) -> None:
        """Say that the last group is decoded.

        Raises:
            ParameterError: Bytes are left, or a lane is not where encoding began.
        """
        if (self._taken != self._last).any():
            raise _damaged("bytes after the last symbol")
        if (self._states != _LOWEST).any():
            raise _damaged("lanes that do not end where encoding began")


def _damaged(what: str) -> ParameterError:
    return ParameterError(
        f"Coded bytes must be what the encoder wrote; received {what}. Get the file again."
    )


def _check_lanes(num_lanes: int) -> None:
    if not 1 <= num_lanes <= MOST_LANES:
        raise ParameterError(
            f"num_lanes must be from 1 to {MOST_LANES:,}; received {num_lanes}. Take that many."
        )


def _check_places(starts: Places, frequencies: Places) -> None:
    if starts.shape != frequencies.shape or starts.ndim != 2:
        raise ParameterError(
            f"starts and frequencies must be of one shape, (num_streams, num_symbols); received "
            f"{starts.shape} and {frequencies.shape}."
        )
    if starts.size and (
        frequencies.min() < 1 or starts.min() < 0 or (starts > TOTAL - frequencies).any()
    ):
        raise ParameterError(
            f"frequencies must be 1 or more, starts 0 or more, and their sums at most {TOTAL:,}; "
            f"received frequencies from {frequencies.min()}, starts from {starts.min()} and sums "
            f"up to {(starts + frequencies).max()}."
        )
