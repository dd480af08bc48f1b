import numpy as np
import pytest
from coders import smooth_images

from convae.coding.prediction import CODED_CENTER, INPUT_CENTER, predict, relative
from convae.coding.waves import OFFSETS

SIZE = len(OFFSETS) + 1


def inputs(num_planes, count=300, seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (num_planes, SIZE, count)).astype(np.uint8)


def median(left, above, between):
    return sorted([left, above, left + above - between])[1]


def test_a_prediction_is_the_median_of_two_neighbors_and_their_plane():
    given = inputs(1)
    places = [OFFSETS.index(offset) for offset in ((0, -1), (-1, 0), (-1, -1))]
    expected = [median(*(int(given[0, place, index]) for place in places)) for index in range(300)]
    assert predict(given, 0, 8).tolist() == expected


def test_behind_the_first_plane_the_difference_to_the_one_before_is_predicted():
    given = inputs(3)
    wide = given.astype(int)
    for index in range(300):
        left, above, between = wide[2, :3, index] - wide[1, :3, index]
        value = median(left, above, between) + wide[1, -1, index]
        assert predict(given, 2, 8)[index] == min(max(value, 0), 255)


def test_inputs_are_distances_cut_to_a_byte():
    given = inputs(3)
    found, wide = relative(given, 1, 8).astype(int), given.astype(int)
    own = predict(given, 1, 8)
    behind = [median(*wide[2, :3, index]) for index in range(300)]
    centers = [wide[0, -1], own, np.array(behind)]
    for plane, center in enumerate(centers):
        expected = np.clip(wide[plane, :-1] - center + INPUT_CENTER, 0, 255)
        np.testing.assert_array_equal(found[plane, :-1], expected)
    np.testing.assert_array_equal(found[1, -1], own)
    np.testing.assert_array_equal(found[2, -1], np.clip(behind, 0, 255))
    known = wide[0, -1] - predict(given, 0, 8) + INPUT_CENTER
    np.testing.assert_array_equal(found[0, -1], np.clip(known, 0, 255))


def test_a_low_byte_is_predicted_from_whole_values_in_the_room_that_the_high_one_leaves():
    given = inputs(2)
    wide = given.astype(int)
    values = 256 * wide[0] + wide[1]
    found = predict(given, 1, 16)
    distances = relative(given, 1, 16)
    for index in range(300):
        high = 256 * wide[0, -1, index]
        likely = min(max(median(*values[:3, index]), high), high + 255)
        assert found[index] == likely - high
        expected = np.clip(values[:-1, index] - likely + INPUT_CENTER, 0, 255)
        np.testing.assert_array_equal(distances[1, :-1, index], expected)
        # The high bytes by their own distance from the one that is known.
        expected = np.clip(wide[0, :-1, index] - wide[0, -1, index] + INPUT_CENTER, 0, 255)
        np.testing.assert_array_equal(distances[0, :-1, index], expected)
    high = predict(given, 0, 16)
    assert high.tolist() == [median(*wide[0, :3, index]) for index in range(300)]
    # Before the high byte is known, low ones are told from the likely value.
    center = np.array([median(*values[:3, index]) for index in range(300)])
    before = relative(given, 0, 16)
    np.testing.assert_array_equal(before[1, :-1], np.clip(values[:-1] - center + 128, 0, 255))
    np.testing.assert_array_equal(before[1, -1], center & 255)


@pytest.mark.parametrize(("plane", "bits"), [(0, 8), (2, 8), (0, 16), (1, 16), (2, 16)])
def test_what_is_not_known_yet_changes_nothing(plane, bits):
    given = inputs(4)
    changed = given.copy()
    changed[plane:, -1] ^= 85
    np.testing.assert_array_equal(relative(changed, plane, bits), relative(given, plane, bits))


def test_small_distances_share_a_high_half():
    assert {(distance + CODED_CENTER) >> 4 for distance in range(-8, 8)} == {CODED_CENTER >> 4}


def test_smooth_images_are_near_their_prediction():
    images = smooth_images(3, 12, 12, 1).astype(int)[..., 0]
    left, above, between = images[:, 1:, :-1], images[:, :-1, 1:], images[:, :-1, :-1]
    given = np.zeros((1, SIZE, left.size), np.uint8)
    given[0, :3] = [part.ravel() for part in (left, above, between)]
    assert np.abs(predict(given, 0, 8) - images[:, 1:, 1:].ravel()).mean() < 20
