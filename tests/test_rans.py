import math
import platform
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convae.coding.rans import MOST_LANES, TOTAL, Decoder, encode
from convae.errors import ParameterError

# Of the five symbols in `test_the_bytes_are_always_these`: two states, and a word.
GOLDEN = "000074340400370b76340400b1f0"


def random_bounds(random, num_symbols, num_values, spread=1.0):
    """Bounds of random distributions, some of them very uneven."""
    weights = np.exp(spread * random.standard_normal((num_symbols, num_values)))
    shares = weights / weights.sum(axis=1, keepdims=True)
    frequencies = 1 + np.floor(shares * (TOTAL - num_values)).astype(np.int64)
    frequencies[:, 0] += TOTAL - frequencies.sum(axis=1)
    return np.concatenate(
        [np.zeros((num_symbols, 1), np.int64), frequencies.cumsum(axis=1)], axis=1
    )


def places(bounds, symbols):
    """Starts and frequencies of one stream's symbols."""
    rows = np.arange(len(symbols))
    starts = bounds[rows, symbols]
    return starts[np.newaxis], (bounds[rows, symbols + 1] - starts)[np.newaxis]


def encode_one(groups, num_lanes):
    (data,) = encode(groups, num_lanes)
    return data


def decode_one(decoder, bounds):
    """The symbols of one stream; `bounds` has a row for each."""
    (symbols,) = decoder.decode(bounds.T[:, np.newaxis].astype(np.int32))
    return symbols


def make(seed, sizes, num_values, spread=1.0):
    random = np.random.default_rng(seed)
    all_bounds = [random_bounds(random, size, num_values, spread) for size in sizes]
    symbols = [random.integers(0, num_values, size) for size in sizes]
    groups = [places(*pair) for pair in zip(all_bounds, symbols, strict=True)]
    return all_bounds, symbols, groups


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.integers(0, 70), max_size=6),
    num_values=st.integers(1, 17),
    num_lanes=st.integers(1, 40),
    spread=st.sampled_from([0.0, 1.0, 20.0]),
)
def test_what_is_encoded_is_decoded_and_is_not_longer_than_stated(
    seed, sizes, num_values, num_lanes, spread
):
    all_bounds, symbols, groups = make(seed, sizes, num_values, spread)
    data = encode_one(groups, num_lanes)
    decoder = Decoder([data], num_lanes)
    for bounds, expected in zip(all_bounds, symbols, strict=True):
        np.testing.assert_array_equal(decode_one(decoder, bounds), expected)
    decoder.finish()
    bits = sum(float(np.log2(TOTAL / frequencies).sum()) for _, frequencies in groups)
    most_bits = bits + 48 * num_lanes + sum(sizes) / 16_000
    assert len(data) <= 2 * math.ceil(most_bits / 16)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.integers(0, 50), max_size=5),
    num_streams=st.integers(1, 5),
    num_lanes=st.integers(1, 20),
)
def test_streams_side_by_side_are_those_that_each_makes_alone(seed, sizes, num_streams, num_lanes):
    made = [make(seed + number, sizes, 16, 2.0) for number in range(num_streams)]
    together = [
        tuple(np.concatenate(parts) for parts in zip(*groups, strict=True))
        for groups in zip(*(groups for _, _, groups in made), strict=True)
    ]
    streams = encode(together, num_lanes, num_streams)
    assert streams == [encode_one(groups, num_lanes) for _, _, groups in made]
    decoder = Decoder(streams, num_lanes)
    for index in range(len(sizes)):
        bounds = np.stack([all_bounds[index].T for all_bounds, _, _ in made], axis=1)
        expected = np.stack([symbols[index] for _, symbols, _ in made])
        np.testing.assert_array_equal(decoder.decode(bounds.astype(np.int32)), expected)
    decoder.finish()


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(1, 70),
    num_values=st.integers(1, 127),
    num_lanes=st.integers(1, 20),
)
def test_symbols_of_one_distribution_are_decoded_as_if_each_had_its_own(
    seed, size, num_values, num_lanes
):
    random = np.random.default_rng(seed)
    bounds = random_bounds(random, 1, num_values, 3.0)[0]
    symbols = random.integers(0, num_values, (2, size))
    groups = [(bounds[symbols], np.diff(bounds)[symbols])]
    decoder = Decoder(encode(groups, num_lanes, 2), num_lanes)
    found = decoder.decode_alike(bounds.astype(np.int32), size)
    np.testing.assert_array_equal(found, symbols)
    decoder.finish()


def test_many_symbols_take_hardly_more_than_their_information():
    all_bounds, symbols, groups = make(0, [200_000], 16, 2.0)
    data = encode_one(groups, 64)
    bits = float(np.log2(TOTAL / groups[0][1]).sum())
    assert bits < 8 * len(data) < bits + 48 * 64 + 16
    np.testing.assert_array_equal(decode_one(Decoder([data], 64), all_bounds[0]), symbols[0])


def test_the_bytes_are_always_these():
    bounds = np.array([[0, 1, 40_000, TOTAL]] * 5)
    data = encode_one([places(bounds, np.array([0, 1, 2, 2, 1]))], 2)
    assert data.hex() == GOLDEN


def test_a_certain_symbol_costs_nothing():
    bounds = np.tile(np.array([0, TOTAL]), (10_000, 1))
    assert len(encode_one([places(bounds, np.zeros(10_000, np.int64))], 3)) == 18


@pytest.mark.parametrize("cut", [1, 2, 40])
def test_bytes_that_end_too_soon_are_refused(cut):
    all_bounds, _, groups = make(1, [300], 16)
    data = encode_one(groups, 4)[:-cut]
    with pytest.raises(ParameterError, match="must be what the encoder wrote; received"):
        decode_one(Decoder([data], 4), all_bounds[0])


def test_other_damage_is_refused_at_the_end_or_before():
    all_bounds, _, groups = make(1, [300], 16)
    data = encode_one(groups, 4)
    decoder = Decoder([data + b"\0\0"], 4)
    decode_one(decoder, all_bounds[0])
    with pytest.raises(ParameterError, match="received bytes after the last symbol"):
        decoder.finish()
    with pytest.raises(ParameterError, match="too few for 4 lanes"):
        Decoder([data[:22]], 4)
    with pytest.raises(ParameterError, match="a state that encoding never ends with"):
        Decoder([bytes(24)], 4)
    noticed = 0
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 0x10
        try:
            decoder = Decoder([bytes(changed)], 4)
            decode_one(decoder, all_bounds[0])
            decoder.finish()
        except ParameterError:
            noticed += 1
    assert noticed == len(data)


@pytest.mark.parametrize(
    ("start", "frequency", "text"),
    [(0, 0, "frequencies from 0"), (-1, 4, "starts from -1"), (5, TOTAL - 4, "sums up to 65537")],
)
def test_what_is_no_distribution_is_refused(start, frequency, text):
    with pytest.raises(ParameterError, match=text):
        encode([(np.array([[start]]), np.array([[frequency]]))], 1)
    with pytest.raises(ParameterError, match=r"received \(1, 2\) and \(1, 1\)"):
        encode([(np.array([[0, 1]]), np.array([[1]]))], 1)


@pytest.mark.parametrize("num_lanes", [0, MOST_LANES + 1])
def test_a_number_of_lanes_outside_its_range_is_refused(num_lanes):
    with pytest.raises(ParameterError, match="num_lanes must be from 1 to 65,536"):
        encode([], num_lanes)
    with pytest.raises(ParameterError, match="num_lanes must be from 1 to 65,536"):
        Decoder([b""], num_lanes)


@pytest.mark.skipif(
    sys.platform == "linux" and platform.machine() != "x86_64",
    reason="constriction has no wheel for Linux on other processors",
)
@pytest.mark.parametrize("spread", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("num_values", [2, 16])
def test_another_coder_needs_as_many_bytes(num_values, spread):
    import constriction

    (bounds,), (symbols,), groups = make(0, [20_000], num_values, spread)
    likely = (np.diff(bounds, axis=1) / TOTAL).astype(np.float32)
    family = constriction.stream.model.Categorical(perfect=False)
    other = constriction.stream.stack.AnsCoder()
    other.encode_reverse(symbols.astype(np.int32), family, likely)
    # Both end with a word or a state that may be half empty.
    assert abs(len(encode_one(groups, 1)) - 4 * len(other.get_compressed())) <= 4
