"""The plan of the U-Net, computed in NumPy and trained in Keras."""

import numpy as np
import pytest

from convae.architecture.unet import UNet
from convae.errors import ParameterError
from convae.jobs.denoise.arrays import ArrayOperations
from convae.nn import unet
from convae.nn.backend import keras
from convae.nn.unet import _UNetModel, train_unet

PLAN = UNet(3, 3, (4, 6, 8), (1, 2, 1))


def drawn(plan, seed=0):
    random = np.random.default_rng(seed)
    return {
        name: random.standard_normal(shape).astype(np.float32) / np.sqrt(np.prod(shape[:-1]))
        for name, shape in plan.weight_shapes().items()
    }


def computed(plan, images, weights):
    return plan.compute(images, weights, ArrayOperations())


def test_numpy_and_keras_compute_the_same():
    images = np.random.default_rng(1).random((2, 16, 24, 3), np.float32)
    weights = drawn(PLAN)
    model = _UNetModel(PLAN)
    for name, weight in model.weights_by_name.items():
        weight.assign(weights[name])
    expected = keras.ops.convert_to_numpy(model(images)) - images
    np.testing.assert_allclose(computed(PLAN, images, weights), expected, atol=2e-5)


def test_what_goes_in_stays_as_it_is():
    images = np.random.default_rng(1).random((1, 8, 8, 3), np.float32)
    before = images.copy()
    computed(PLAN, images, drawn(PLAN))
    np.testing.assert_array_equal(images, before)


def test_a_brighter_image_has_the_brighter_result():
    images = np.random.default_rng(2).random((1, 16, 16, 3), np.float32)
    weights = drawn(PLAN)
    np.testing.assert_allclose(
        computed(PLAN, 3 * images, weights),
        3 * computed(PLAN, images, weights),
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize(
    "plan", [UNet(1, 1, (3,), (2,)), UNet(1, 1, (3, 4), (1, 2)), UNet(1, 1, (2, 3, 4), (1, 1, 1))]
)
def test_no_pixel_reaches_further_than_the_reach(plan):
    """Some pixel reaches as far, to within a square of the last level."""
    side = 2 * (plan.reach + plan.stride) + plan.stride
    side += -side % plan.stride
    weights = {name: np.abs(weight) for name, weight in drawn(plan).items()}
    images = np.full((1, side, side, 1), 0.5, np.float32)
    before = computed(plan, images, weights)
    farthest = 0
    for place in range(side // 2, side // 2 + plan.stride):
        changed = images.copy()
        changed[0, place, place] += 1
        rows = np.flatnonzero((computed(plan, changed, weights) != before).any(axis=(0, 2, 3)))
        farthest = max(farthest, place - rows.min(), rows.max() - place)
    assert plan.reach - plan.stride < farthest <= plan.reach


def test_a_network_learns_to_darken():
    random = np.random.default_rng(0)

    def batches():
        for _ in range(120):
            images = random.random((8, 8, 8, 1), np.float32)
            yield images, images / 2

    plan, steps = UNet(1, 1, (16,), (1,)), []
    weights = train_unet(plan, batches(), 120, 0, progress=lambda *step: steps.append(step))
    assert steps[-1] == (120, 120)
    assert {name: weight.shape for name, weight in weights.items()} == plan.weight_shapes()
    images = random.random((8, 8, 8, 1), np.float32)
    found = images + computed(plan, images, weights)
    # Doing nothing is off by 0.25.
    assert np.abs(found - images / 2).mean() < 0.08


def test_a_plan_comes_back_from_json():
    assert UNet.from_json(PLAN.to_json()) == PLAN


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"widths": []}, "tuple of 1 to 6"),
        ({"widths": [4, 0, 8]}, "from 1 to 1024"),
        ({"widths": [4, 8]}, "one number for each level"),
        ({"blocks": "abc"}, "tuple of 1 to 6"),
        ({"blocks": [16, 16, 16]}, "a reach of"),
        ({"widths": [1024, 1024, 1024]}, "parameters"),
        ({"inputs": 0}, "from 1 to 1024"),
        ({"outputs": 1.5}, "whole number"),
        ({"more": 1}, "must have the keys"),
    ],
)
def test_another_plan_is_refused(change, message):
    with pytest.raises(ParameterError, match=message):
        UNet.from_json({**PLAN.to_json(), **change})


def test_parts_of_a_batch_teach_what_the_whole_one_does(monkeypatch):
    random = np.random.default_rng(0)
    batches = [tuple(random.random((2, 8, 8, 8, 1), np.float32)) for _ in range(5)]
    found = []
    for num_parts in (1, 4, 3):  # eight images cannot be cut into three parts
        monkeypatch.setattr(unet, "NUM_PARTS", num_parts)
        found.append(train_unet(UNet(1, 1, (4, 6), (1, 1)), batches, 5, 0))
    for name, whole in found[0].items():
        np.testing.assert_allclose(found[1][name], whole, rtol=1e-3, atol=1e-5)
        np.testing.assert_array_equal(found[2][name], whole)
