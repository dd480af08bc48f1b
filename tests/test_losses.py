import numpy as np
import pytest

from convae import ConvAutoencoder
from convae.images.metrics import ssim
from convae.nn.backend import keras
from convae.nn.losses import LOSSES


def loss(name, targets, reconstructions):
    value = LOSSES[name](keras.ops.array(targets), keras.ops.array(reconstructions))
    return float(keras.ops.convert_to_numpy(value))


@pytest.fixture
def pair():
    random = np.random.default_rng(0)
    targets = random.random((3, 9, 11, 3), dtype=np.float32)
    return targets, np.clip(targets + random.normal(0, 0.1, targets.shape), 0.02, 0.98).astype(
        np.float32
    )


def test_each_loss_is_its_definition(pair):
    targets, reconstructions = (part.astype(np.float64) for part in pair)
    assert loss("mse", *pair) == pytest.approx(np.mean((targets - reconstructions) ** 2), rel=1e-5)
    assert loss("mae", *pair) == pytest.approx(np.mean(abs(targets - reconstructions)), rel=1e-5)
    entropy = -targets * np.log(reconstructions) - (1 - targets) * np.log(1 - reconstructions)
    assert loss("bce", *pair) == pytest.approx(entropy.mean(), rel=1e-5)
    assert loss("ssim", *pair) == pytest.approx(1 - ssim(*pair).mean(), rel=1e-4)


@pytest.mark.parametrize("name", LOSSES)
def test_each_loss_is_least_for_the_targets_themselves(name, pair):
    targets, reconstructions = pair
    assert loss(name, targets, targets) < loss(name, targets, reconstructions)


@pytest.mark.parametrize("name", LOSSES)
def test_training_lowers_each_loss(name, digits):
    model = ConvAutoencoder((4,), 4, loss=name, epochs=4, learning_rate=0.01).fit(digits)
    losses = [record["loss"] for record in model.history_]
    assert losses[-1] < losses[0]
