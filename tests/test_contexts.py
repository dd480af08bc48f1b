import hashlib

import numpy as np
import pytest
from coders import random_tables

from convae.coding.contexts import (
    HALF,
    ContextNetwork,
    exponentials,
    largest_sum,
    looked_up,
    num_inputs,
    places_of,
    table_shapes,
)
from convae.coding.rans import TOTAL
from convae.errors import ParameterError

# Of the bounds in `test_the_bounds_are_always_these`, on whatever machine.
GOLDEN = "a2874149c86e1014a30bec8da5214dd7bbec07ab655f7e7cadda183d178c75f1"


def network(plane=0, num_planes=1, **changes):
    tables = random_tables(plane, num_planes) | changes
    return ContextNetwork(plane, num_planes, tables, exponentials())


def contexts(count, num_planes=1, seed=0):
    random = np.random.default_rng(seed)
    size = num_planes, num_inputs(1), count
    inputs = random.integers(0, 256, size).astype(np.uint8)
    rows, columns = random.integers(0, 16, (2, count))
    return inputs, 16 * rows + columns


def all_bounds(network, inputs, places, possible=None):
    hidden = network.hidden(inputs, places)
    high = np.arange(inputs.shape[2]) % HALF
    return network.high_bounds(hidden, possible), network.low_bounds(hidden, high, possible)


@pytest.mark.parametrize(("plane", "num_planes"), [(0, 1), (0, 3), (2, 3), (3, 4)])
def test_bounds_rise_from_0_to_the_total(plane, num_planes):
    for bounds in all_bounds(network(plane, num_planes), *contexts(500, num_planes)):
        assert bounds.shape == (HALF + 1, 500)
        assert (bounds[0] == 0).all()
        assert (bounds[-1] == TOTAL).all()
        assert (np.diff(bounds, axis=0) >= 1).all()
        assert len(np.unique(bounds[8])) > 50


def test_what_cannot_come_has_no_share():
    random = np.random.default_rng(3)
    possible = random.random((HALF, 500)) < 0.3
    possible[5] |= ~possible.any(axis=0)
    for bounds in all_bounds(network(), *contexts(500), possible):
        assert (bounds[-1] == TOTAL).all()
        np.testing.assert_array_equal(np.diff(bounds, axis=0) > 0, possible)


def test_bounds_are_those_of_integers_of_any_size():
    found = all_bounds(network(), *contexts(40))
    tables = {name: table.astype(object) for name, table in random_tables(0, 1).items()}
    inputs, places = contexts(40)
    weights = exponentials()
    for index in range(40):
        values = [int(value) for value in inputs[0, :, index]]
        sums = tables["window"].T @ np.array(values, object)
        sums += 2048 * sum(
            tables["values"][slot][values[place]] for slot, place in enumerate(looked_up(0, 1))
        )
        sums += 2048 * (tables["rows"][places[index] // 16] + tables["columns"][places[index] % 16])
        first = [min(max(value >> 11, 0), 255) for value in sums]
        sums = tables["hidden"].T @ np.array(first, object) + tables["hidden_bias"]
        hidden = np.array([min(max(value >> 6, 0), 255) for value in sums], object)
        high = index % HALF
        sums = tables["low_hidden"].T @ hidden + tables["low_hidden_bias"][high]
        second = np.array([min(max(value >> 6, 0), 255) for value in sums], object)
        logits = (
            tables["high"].T @ hidden + tables["high_bias"],
            tables["low"].T @ second + tables["low_bias"][high],
        )
        for bounds, own in zip(found, logits, strict=True):
            steps = [min((max(own) - value) >> 5, 1023) for value in own]
            shares = np.cumsum([int(weights[step]) for step in steps])
            ideal = shares * (TOTAL - HALF) / shares[-1] + np.arange(1, HALF + 1)
            assert np.abs(bounds[1:, index] - ideal).max() < 1.01


def test_a_context_has_the_same_bounds_alone_and_among_others():
    inputs, places = contexts(300)
    together = all_bounds(network(), inputs, places)
    for index in (0, 16, 160):
        alone = all_bounds(network(), inputs[..., index : index + 1], places[[index]])
        for one, all_ in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one[:, 0], all_[:, index])


def test_the_bounds_are_always_these():
    high, low = all_bounds(network(1, 3), *contexts(200, 3))
    data = np.concatenate([high, low]).astype("<i4").tobytes()
    assert hashlib.sha256(data).hexdigest() == GOLDEN


def test_places_are_sixteenths():
    assert places_of(np.arange(8), 8).tolist() == [0, 2, 4, 6, 8, 10, 12, 14]
    assert places_of(np.arange(100), 100).max() == 15


def test_other_planes_are_looked_up_where_they_are_known():
    size = num_inputs(1)
    assert looked_up(1, 3) == [size, size + 1, size + 2, size + 3, size - 1, 2 * size]


@pytest.mark.parametrize(
    ("name", "value"), [("window", 3000), ("hidden_bias", 2**23), ("low_bias", 2**23)]
)
def test_tables_that_let_a_sum_be_inexact_are_refused(name, value):
    tables = random_tables(0, 1)
    assert largest_sum(tables) < 2**24
    table = np.full_like(tables[name], value)
    with pytest.raises(ParameterError, match="sums must stay below 16,777,216; received tables"):
        network(**{name: table})


@pytest.mark.parametrize("name", list(table_shapes(0, 1, 8)))
def test_tables_of_another_kind_are_refused(name):
    good = random_tables(0, 1)
    bad = (good[name].astype(np.int64), good[name][..., :-1], good[name][..., :0])
    for table in (*bad, good[name].ravel()[0].reshape(())):
        with pytest.raises(ParameterError, match=r"must be an int(8|16|32) array of shape"):
            network(**{name: table})
    del good[name]
    with pytest.raises(
        ParameterError, match="The tables of a context network must be 12 tables; received 11"
    ):
        ContextNetwork(0, 1, good, exponentials())


def test_exponentials_of_another_kind_are_refused():
    tables = random_tables(0, 1)
    for bad in (exponentials()[:-1], exponentials().astype(np.int64)):
        with pytest.raises(
            ParameterError, match=r"exponentials must be an int32 array of shape \(1024,\)"
        ):
            ContextNetwork(0, 1, tables, bad)
    for place, value in ((0, 5), (7, 0), (3, 2**21)):
        bad = exponentials()
        bad[place] = value
        with pytest.raises(ParameterError, match="exponentials must begin with 1,048,576"):
            ContextNetwork(0, 1, tables, bad)
