import jax
import numpy as np
import pytest

from convae import ConvAutoencoder
from convae.nn import steps
from convae.nn.optimizers import Muon

RECIPE = {
    "filters": (3, 4),
    "latent_dim": 2,
    "epochs": 2,
    "batch_size": 8,
    "optimizer": "muon",
    "learning_rate": 0.01,
    "translation": 1,
}


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_compiled_steps_are_the_steps_that_keras_takes(dtype, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (20, 9, 8, 3), dtype=np.uint8)
    if dtype == np.float32:
        images = images / np.float32(255)
    compiled = ConvAutoencoder(**RECIPE).fit(images)

    def make_single_steps(model, optimizer, plan, images):
        assert isinstance(optimizer, Muon)
        return steps._SingleSteps(model, optimizer, plan, images)

    monkeypatch.setattr("convae.nn.train.make_steps", make_single_steps)
    single = ConvAutoencoder(**RECIPE).fit(images)
    for one, other in zip(compiled.history_, single.history_, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)
    for name, value in compiled.weights_.items():
        np.testing.assert_allclose(value, single.weights_[name], rtol=2e-3, atol=2e-4, err_msg=name)


def test_a_call_gives_up_no_array_that_the_model_still_holds():
    images = np.zeros((16, 8, 8, 1), np.uint8)
    model = ConvAutoencoder(**{**RECIPE, "validation_split": 0.5}).fit(images)
    for variable in model.keras_model.variables:
        assert isinstance(variable.value, jax.Array)
        assert not variable.value.is_deleted()


def test_trainings_that_differ_in_seed_and_images_share_what_is_compiled():
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (2, 20, 9, 8, 3), dtype=np.uint8)
    models = [ConvAutoencoder(**RECIPE, seed=0).fit(images[0])]
    before = steps._compiled.cache_info()
    models += [
        ConvAutoencoder(**RECIPE, seed=0).fit(images[0]),
        ConvAutoencoder(**RECIPE, seed=1).fit(images[0]),
        ConvAutoencoder(**RECIPE, seed=0).fit(images[1]),
    ]
    assert steps._compiled.cache_info().misses == before.misses
    losses = [model.history_[-1]["loss"] for model in models]
    assert losses[0] == losses[1]
    assert len(set(losses)) == 3
    steeper = ConvAutoencoder(**{**RECIPE, "learning_rate": 0.1}).fit(images[0])
    assert steps._compiled.cache_info().misses == before.misses + 1
    assert steeper.history_[-1]["loss"] not in losses


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_trainings_of_other_lengths_share_what_is_compiled(schedule, monkeypatch):
    """On so many more images, or for so many more epochs, no program is compiled anew."""
    loops = []
    compile_loop = steps._compiled

    def kept(plan, most_steps):
        loops.append(compile_loop(plan, most_steps))
        return loops[-1]

    monkeypatch.setattr(steps, "_compiled", kept)
    images = np.random.default_rng(0).integers(0, 256, (40, 9, 8, 1), dtype=np.uint8)
    recipe = {**RECIPE, "learning_rate_schedule": schedule}
    ConvAutoencoder(**recipe).fit(images[:24])
    programs = loops[0]._cache_size()
    ConvAutoencoder(**recipe).fit(images)
    ConvAutoencoder(**{**recipe, "epochs": 4}).fit(images)
    assert all(loop is loops[0] for loop in loops)
    assert loops[0]._cache_size() == programs
