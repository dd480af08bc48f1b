import numpy as np
import pytest

from convae.images import to_float
from convae.jobs.anomaly.corruptions import COLOR_KINDS, KINDS, corruptions


@pytest.mark.parametrize("shape", [(6, 28, 28, 1), (5, 8, 8, 3), (4, 9, 40, 4)])
def test_every_kind_keeps_shape_and_range_and_changes_images(random_images, shape):
    images = to_float(random_images(*shape))
    before = images.copy()
    found = dict(corruptions(images, seed=0))
    assert list(found) == [*KINDS, *([] if shape[3] == 1 else COLOR_KINDS)]
    for changed in found.values():
        assert changed.shape == shape
        assert changed.dtype == np.float32
        assert 0 <= changed.min() <= changed.max() <= 1
        assert (np.abs(changed - images).max(axis=(1, 2, 3)) > 0.01).all()
    np.testing.assert_array_equal(images, before)


def test_the_same_seed_makes_the_same_and_another_seed_others(digits):
    images = to_float(digits[:8])
    for (_, one), (_, same), (_, other) in zip(
        corruptions(images, 1), corruptions(images, 1), corruptions(images, 2), strict=True
    ):
        np.testing.assert_array_equal(one, same)
        assert (one != other).any()


def test_images_of_one_color_do_no_harm():
    images = np.full((2, 8, 8, 1), 0.25, np.float32)
    for _, changed in corruptions(images, 0):
        assert np.isfinite(changed).all()


def test_most_digits_are_changed_by_every_kind(digits):
    images = to_float(digits)
    for name, changed in corruptions(images, 0):
        seen = np.abs(changed - images).max(axis=(1, 2, 3)) > 0.1
        assert seen.mean() > 0.9, name
