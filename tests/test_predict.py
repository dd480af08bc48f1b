"""What is compiled is shared by networks of one architecture, and weights are not."""

import numpy as np
import pytest

from convae.architecture.plan import Architecture
from convae.errors import ModelFileError
from convae.nn import build, predict
from convae.nn.build import build_model, get_weights, template
from convae.nn.network import KerasNetwork
from convae.nn.predict import Predictor, Span

SMALL = Architecture(9, 8, 3, (3, 4), 2)


@pytest.fixture
def images():
    return np.random.default_rng(0).random((5, 9, 8, 3), dtype=np.float32)


def test_two_networks_share_what_is_compiled_and_each_has_its_own_weights(images):
    models = [build_model(SMALL, seed) for seed in (1, 2)]
    one, two = (Predictor(model, SMALL) for model in models)
    whole = [one.whole("encoder"), one.whole("decoder")]
    found = one(images, *whole)
    before = predict._compiled.cache_info()
    others = two(images, *whole)
    assert predict._compiled.cache_info().misses == before.misses
    for model, outputs in zip(models, (found, others), strict=True):
        np.testing.assert_allclose(outputs, model.predict_on_batch(images), atol=1e-6)
    assert np.abs(found - others).max() > 1e-3
    models[0].set_weights(models[1].get_weights())
    np.testing.assert_array_equal(one(images, *whole), others)


def test_layers_in_parts_compute_what_they_compute_together(images):
    predictor = Predictor(build_model(SMALL, 1), SMALL)
    whole = predictor.whole("encoder")
    parts = [Span("encoder", 0, 3), Span("encoder", 3, 4), Span("encoder", 4, whole.stop)]
    np.testing.assert_allclose(predictor(images, *parts), predictor(images, whole), atol=1e-6)
    assert predictor(images, parts[0]).shape == (5, 5, 4, 3)
    assert predictor(images[:0], *parts).shape == (0, 2)


def test_a_batch_has_bounded_volumes(images, monkeypatch):
    predictor = Predictor(build_model(SMALL, 1), SMALL)
    whole = predictor.whole("encoder")
    expected = predictor(images, whole)
    sizes = []
    run = predictor._run(whole)
    monkeypatch.setattr(
        predictor, "_run", lambda _: lambda part: sizes.append(len(part)) or run(part)
    )
    # Three images' worth, of which two fit in a batch of a power of two.
    monkeypatch.setattr(predict, "MOST_NUMBERS", 3 * SMALL.largest_volume)
    np.testing.assert_allclose(predictor(images, whole), expected, atol=1e-6)
    assert sizes == [2, 2, 1]
    monkeypatch.setattr(predict, "MOST_NUMBERS", 1)
    predictor(images, whole)
    assert sizes[3:] == [1] * 5


def test_what_is_compiled_from_stays_blank(images):
    model = build_model(SMALL, 1)
    Predictor(model, SMALL)(images, Predictor(model, SMALL).whole("encoder"))
    kernels = [value for name, value in get_weights(template(SMALL)).items() if "kernel" in name]
    assert all((kernel == 0).all() for kernel in kernels)


def test_nothing_is_kept_of_a_large_network(images, monkeypatch):
    assert template(SMALL) is template(SMALL)
    monkeypatch.setattr(build, "MOST_SHARED_PARAMETERS", SMALL.num_parameters - 1)
    assert template(SMALL) is not template(SMALL)
    model = build_model(SMALL, 1)
    before = predict._compiled.cache_info()
    predictor = Predictor(model, SMALL)
    found = predictor(images, Span("encoder", 0, 2))
    assert predict._compiled.cache_info() == before
    monkeypatch.setattr(predict, "template", lambda _: pytest.fail("compiled again"))
    np.testing.assert_array_equal(predictor(images, Span("encoder", 0, 2)), found)
    assert found.shape == (5, 5, 4, 3)


def test_weights_whose_sums_overflow_are_refused(images):
    weights = get_weights(build_model(SMALL, 1))
    weights["encoder/latents/bias"] = np.full_like(weights["encoder/latents/bias"], 3e38)
    weights["decoder/volume/kernel"] = np.full_like(weights["decoder/volume/kernel"], 3e38)
    network = KerasNetwork(SMALL, weights)
    assert np.isfinite(network.encode(images)).all()
    for compute, inputs in (
        (network.reconstruct, images),
        (network.decode, np.full((1, 2), 10, np.float32)),
    ):
        with pytest.raises(ModelFileError, match="A network must give finite numbers; received"):
            compute(inputs)
