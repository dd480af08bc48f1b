import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convae.errors import ParameterError
from convae.images.copies import copy_groups, one_of_each
from convae.images.selection import Selection, held_out_indices
from convae.jobs.anomaly.calibration import Calibration

whole_scores = st.lists(st.integers(-5, 5), min_size=1, max_size=40).map(
    lambda values: np.array(values, np.float64)
)
rates = st.integers(1, 99).map(lambda percent: percent / 100)


@given(whole_scores, whole_scores)
def test_a_p_value_counts_the_normal_images_that_score_as_low(calibrating, scores):
    expected = [(1 + np.sum(calibrating <= score)) / (len(calibrating) + 1) for score in scores]
    np.testing.assert_array_equal(Calibration(calibrating).p_values(scores), expected)


@given(st.integers(1, 300), rates)
def test_a_new_normal_image_is_flagged_no_more_often_than_stated(count, rate):
    """Each of exchangeable images is as likely to be the new one: all cases are counted."""
    scores = np.random.default_rng(count).permutation(count + 1).astype(np.float64)
    p_values = [
        Calibration(np.delete(scores, new)).p_values(scores[new : new + 1])[0]
        for new in range(count + 1)
    ]
    flagged = np.mean([p_value <= rate + 1e-12 for p_value in p_values])
    assert rate - 1 / (count + 1) < flagged + 1e-12
    assert flagged <= rate + 1e-12


@given(whole_scores, whole_scores, rates)
def test_below_the_threshold_and_a_small_p_value_are_the_same(calibrating, scores, rate):
    calibration = Calibration(calibrating)
    small = calibration.p_values(scores) <= rate + 1e-12
    if calibration.smallest_rate > rate + 1e-12:
        assert not small.any()
        with pytest.raises(ParameterError, match="calibration images; received"):
            calibration.threshold(rate)
    else:
        np.testing.assert_array_equal(scores < calibration.threshold(rate), small)


@pytest.mark.parametrize(("count", "rate"), [(99, 0.01), (9, 0.1), (199, 0.005), (1, 0.5)])
def test_just_enough_images_support_a_rate_and_one_fewer_does_not(count, rate):
    scores = np.arange(count, dtype=np.float64)
    assert Calibration(scores).threshold(rate) == 0
    assert Calibration(scores).smallest_rate == pytest.approx(rate)
    if count > 1:
        text = (
            f"A false-alarm rate of {rate:g} needs at least {count} calibration images; received "
            f"{count - 1}, which support {1 / count:.3g} or more. Ask for a larger rate, or "
            f"calibrate on more normal images."
        )
        with pytest.raises(ParameterError, match=re.escape(text)):
            Calibration(scores[1:]).threshold(rate)


@pytest.mark.parametrize("rate", [5e-324, 1e-300, 1e-18])
def test_a_rate_of_nearly_nothing_is_refused_like_any_other(rate):
    with pytest.raises(ParameterError, match="needs at least 999,999,999,999,999 calibration"):
        Calibration(np.zeros(9)).threshold(rate)


def share_flagged(together, seed):
    """How many fresh images a nearest-neighbor score flags at 0.1 if all are doubled."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (300, 8, 8, 1), dtype=np.uint8)
    learned = Selection.of(np.concatenate([images[:100], images[:100]]))
    groups = copy_groups(learned) if together else np.arange(200)
    held_out = held_out_indices(200, 0.3, seed, groups=groups)
    train = learned.without(held_out)

    def scores(some):
        flat = [np.float64(part).reshape(len(part), -1) for part in (some, train[:])]
        squares = np.square(flat[0][:, None] - flat[1]).sum(axis=2)
        return -squares.min(axis=1)

    calibration = Calibration(scores(learned.take(one_of_each(held_out, groups, seed))[:]))
    return np.mean(calibration.p_values(scores(images[100:])) <= 0.1)


def test_copies_kept_together_leave_the_rate_as_stated_and_parted_ones_do_not():
    # Over 60 sets of 30 calibration images, three standard errors are 0.022.
    assert np.mean([share_flagged(True, seed) for seed in range(60)]) <= 0.1 + 0.022
    assert np.mean([share_flagged(False, seed) for seed in range(20)]) > 0.2


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (0, "must be above 0 and below 1; received 0."),
        (1.0, "must be above 0 and below 1; received 1.0."),
        (float("nan"), "must be above 0 and below 1; received nan."),
        ("many", "must be a number; received 'many'."),
        (True, "must be a number; received True."),
    ],
)
def test_what_is_no_rate_is_refused(rate, text):
    with pytest.raises(ParameterError, match=text):
        Calibration(np.zeros(9)).threshold(rate)


@pytest.mark.parametrize(
    ("scores", "text"),
    [
        (np.zeros(0), "received float64 of shape (0,)"),
        (np.zeros((2, 2)), "received float64 of shape (2, 2)"),
        (np.zeros(3, np.float32), "received float32 of shape (3,)"),
        (np.array([0, np.nan]), "received NaN or infinity"),
    ],
)
def test_scores_of_another_kind_are_refused(scores, text):
    with pytest.raises(ParameterError, match=re.escape(text)):
        Calibration(scores)
