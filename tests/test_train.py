import os
import signal
import threading

import numpy as np
import pytest

from convae import ConvAutoencoder, RunOptions
from convae.errors import ModelFileError, ParameterError
from convae.nn import steps
from convae.nn import train as training
from convae.nn.backend import keras
from convae.nn.checkpoint import read_checkpoint, write_checkpoint
from convae.storage.safefile import read_tensors, write_tensors

RECIPE = {
    "filters": (3,),
    "latent_dim": 2,
    "epochs": 3,
    "batch_size": 16,
    "validation_split": 0.2,
    "optimizer": "adam",
    "learning_rate": 0.01,
    "learning_rate_schedule": "cosine",
}


ADAM = {
    "optimizer": "adam",
    "learning_rate": 0.01,
    "learning_rate_schedule": "constant",
    "weight_decay": 0.0,
}

# TensorFlow's sums on a CPU depend, in their last bit, on where in memory the numbers lie.
ROUNDING = 1e-5 if keras.backend.backend() == "tensorflow" else 0.0


class Watch:
    """An observer that notes what it is told, and does something at one step."""

    def __init__(self, epoch=0, step=0, action=None):
        self.told = []
        self._moment, self._action = (epoch, step), action

    def start(self, num_epochs, num_steps):
        self.told.append(("start", num_epochs, num_steps))

    def step(self, epoch, step, loss):
        self.told.append(("step", epoch, step))
        if (epoch, step) == self._moment:
            self._action()

    def epoch(self, record):
        self.told.append(("epoch", record.epoch))

    def stop(self):
        self.told.append(("stop",))


def press_ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


def assert_same_model(one, two):
    for record, other in zip(one.history_, two.history_, strict=True):
        for name in ("epoch", "loss", "val_loss", "learning_rate"):
            assert record[name] == pytest.approx(other[name], rel=ROUNDING, abs=ROUNDING), name
    assert_same_weights(one, two)


def assert_same_weights(one, two):
    for name, value in one.weights_.items():
        np.testing.assert_allclose(
            value, two.weights_[name], rtol=ROUNDING, atol=ROUNDING, err_msg=name
        )


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (70, 9, 8, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def unbroken(images):
    return ConvAutoencoder(**RECIPE).fit(images)


def test_the_same_seed_trains_the_same_model_and_another_seed_another(images, unbroken):
    assert_same_model(ConvAutoencoder(**RECIPE).fit(images), unbroken)
    other = ConvAutoencoder(**RECIPE, seed=1).fit(images)
    assert other.history_[0]["loss"] != unbroken.history_[0]["loss"]


def test_the_history_has_a_record_for_each_epoch(unbroken):
    assert [record["epoch"] for record in unbroken.history_] == [1, 2, 3]
    assert unbroken.n_iter_ == 3
    rates = [record["learning_rate"] for record in unbroken.history_]
    # Cosine: after each third of the run.
    assert rates == pytest.approx([0.0075, 0.0025, 0], abs=1e-9)
    assert all(record["val_loss"] > 0 and record["elapsed_s"] > 0 for record in unbroken.history_)


@pytest.fixture
def step_by_step(monkeypatch):
    """Makes every call of compiled steps take one step."""
    monkeypatch.setattr(training, "LONGEST_CALL_S", 0.0)


@pytest.mark.parametrize(("epoch", "step"), [(1, 1), (2, 3), (2, 4)])
@pytest.mark.usefixtures("step_by_step")
def test_a_run_stopped_by_ctrl_c_goes_on_as_if_it_never_stopped(
    images, unbroken, tmp_path, epoch, step
):
    path = tmp_path / "checkpoint"
    watch = Watch(epoch, step, press_ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        ConvAutoencoder(**RECIPE).fit(images, run=RunOptions(path, observers=[watch]))
    assert watch.told[-2:] == [("step", epoch, step), ("stop",)]
    resumed = Watch()
    model = ConvAutoencoder(**RECIPE).fit(
        images, run=RunOptions(path, resume=True, observers=[resumed])
    )
    following = ("step", epoch, step + 1) if step < 4 else ("epoch", epoch)
    assert resumed.told[:2] == [("start", 3, 4), following]
    assert_same_model(model, unbroken)


@pytest.mark.usefixtures("step_by_step")
def test_a_run_killed_in_mid_epoch_goes_on_from_its_last_checkpoint(
    images, unbroken, tmp_path, monkeypatch
):
    monkeypatch.setattr(training, "CHECKPOINT_INTERVAL_S", 0.0)  # at every step

    class KilledError(Exception):
        pass

    def die():
        raise KilledError

    path = tmp_path / "checkpoint"
    with pytest.raises(KilledError):
        ConvAutoencoder(**RECIPE).fit(images, run=RunOptions(path, observers=[Watch(2, 3, die)]))
    assert read_tensors(path)[1]["step"] == 2
    model = ConvAutoencoder(**RECIPE).fit(images, run=RunOptions(path, resume=True))
    assert_same_model(model, unbroken)


def test_several_steps_a_call_are_the_same_steps(images, unbroken, monkeypatch):
    monkeypatch.setattr(training, "LONGEST_CALL_S", 1e9)
    assert_same_model(ConvAutoencoder(**RECIPE).fit(images), unbroken)


def test_images_in_a_file_train_the_same_model(images, unbroken, tmp_path, monkeypatch):
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert_same_model(ConvAutoencoder(**RECIPE).fit(mapped), unbroken)
    monkeypatch.setattr(steps, "MOST_RESIDENT_BYTES", 0)
    assert_same_model(ConvAutoencoder(**RECIPE).fit(images), unbroken)


def test_a_part_of_the_images_is_taken_along_where_all_are_too_many(images, unbroken, monkeypatch):
    monkeypatch.setattr(steps, "MOST_RESIDENT_BYTES", 0)
    monkeypatch.setattr(steps, "MOST_BLOCK_BYTES", 2 * 16 * images[0].nbytes)
    told = []
    monkeypatch.setattr(training, "LONGEST_CALL_S", 1e9)
    monkeypatch.setattr(
        training.Batches, "__len__", lambda self: (told.append(len(self.indices)), told[-1])[1]
    )
    assert_same_model(ConvAutoencoder(**RECIPE).fit(images), unbroken)
    assert max(told) == (2 if keras.backend.backend() == "jax" else 1)


@pytest.mark.usefixtures("step_by_step")
def test_a_run_with_all_that_is_random_goes_on_as_if_it_never_stopped(images, tmp_path):
    recipe = {**RECIPE, "optimizer": "muon", "translation": 2, "learning_rate_schedule": "linear"}
    path = tmp_path / "checkpoint"
    with pytest.raises(KeyboardInterrupt):
        ConvAutoencoder(**recipe).fit(
            images, run=RunOptions(path, observers=[Watch(2, 2, press_ctrl_c)])
        )
    model = ConvAutoencoder(**recipe).fit(images, run=RunOptions(path, resume=True))
    assert_same_model(model, ConvAutoencoder(**recipe).fit(images))


def test_translated_images_are_other_images(images):
    recipe = {**RECIPE, "epochs": 1}
    still = ConvAutoencoder(**recipe).fit(images)
    moved = ConvAutoencoder(**recipe, translation=1).fit(images)
    assert moved.history_[0]["loss"] != still.history_[0]["loss"]


def test_short_epochs_are_not_all_written_down(images, tmp_path, monkeypatch):
    written = []
    keep = training.write_checkpoint
    monkeypatch.setattr(
        training,
        "write_checkpoint",
        lambda *given: (written.append(len(given[-1].records)), keep(*given)),
    )
    monkeypatch.setattr(training, "SHORTEST_INTERVAL_S", 1e9)
    recipe = {**RECIPE, "epochs": 5}
    ConvAutoencoder(**recipe).fit(images, run=RunOptions(tmp_path / "checkpoint"))
    assert written == [1, 5]
    monkeypatch.setattr(training, "SHORTEST_INTERVAL_S", 0)
    ConvAutoencoder(**recipe).fit(images, run=RunOptions(tmp_path / "checkpoint"))
    assert written == [1, 5, 1, 2, 3, 4, 5]


def test_a_finished_run_can_be_given_more_epochs_under_a_constant_rate(images, tmp_path):
    recipe = {**RECIPE, "learning_rate_schedule": "constant"}
    path = tmp_path / "checkpoint"
    ConvAutoencoder(**{**recipe, "epochs": 1}).fit(images, run=RunOptions(path))
    longer = ConvAutoencoder(**recipe).fit(images, run=RunOptions(path, resume=True))
    assert_same_model(longer, ConvAutoencoder(**recipe).fit(images))
    with pytest.raises(ParameterError, match="received 2, and 3 are done"):
        ConvAutoencoder(**{**recipe, "epochs": 2}).fit(images, run=RunOptions(path, resume=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 4}, "options epochs=3, received 4"),
        ({"batch_size": 8}, "options batch_size=16, received 8"),
        ({"latent_dim": 3}, "architecture latent_dim=2, received 3"),
        ({"seed": 9}, "options seed=0, received 9"),
    ],
)
def test_another_run_is_not_resumed(images, tmp_path, changes, message):
    path = tmp_path / "checkpoint"
    with pytest.raises(KeyboardInterrupt):
        ConvAutoencoder(**RECIPE).fit(
            images, run=RunOptions(path, observers=[Watch(1, 1, press_ctrl_c)])
        )
    with pytest.raises(ModelFileError, match=f"must match the interrupted one; .*{message}"):
        ConvAutoencoder(**{**RECIPE, **changes}).fit(images, run=RunOptions(path, resume=True))


def test_other_images_are_not_resumed(images, tmp_path):
    path = tmp_path / "checkpoint"
    ConvAutoencoder(**{**RECIPE, "epochs": 1}).fit(images, run=RunOptions(path))
    with pytest.raises(ModelFileError, match="was trained on other images than those received"):
        ConvAutoencoder(**{**RECIPE, "epochs": 1}).fit(
            images[::-1], run=RunOptions(path, resume=True)
        )


def test_resuming_needs_a_checkpoint(images, tmp_path):
    with pytest.raises(ParameterError, match=r"RunOptions\(resume=True\) without checkpoint"):
        ConvAutoencoder(**RECIPE).fit(images, run=RunOptions(resume=True))
    with pytest.raises(ModelFileError, match="there is none at"):
        ConvAutoencoder(**RECIPE).fit(images, run=RunOptions(tmp_path / "none", resume=True))


def test_a_model_file_is_no_checkpoint(images, unbroken, tmp_path):
    unbroken.save(tmp_path / "model")
    with pytest.raises(ModelFileError, match="received a file of kind 'model'"):
        ConvAutoencoder(**RECIPE).fit(images, run=RunOptions(tmp_path / "model", resume=True))


@pytest.fixture
def checkpoint(images, tmp_path):
    path = tmp_path / "checkpoint"
    ConvAutoencoder(**{**RECIPE, "epochs": 1}).fit(images, run=RunOptions(path))
    return path


@pytest.mark.parametrize(
    "damage",
    [
        lambda tensors, document: tensors.pop("weights/encoder/latents/bias"),
        lambda tensors, document: tensors.pop("best/encoder/latents/bias"),
        lambda tensors, document: tensors.pop("optimizer/0003"),
        lambda tensors, document: document.pop("step"),
        lambda tensors, document: document.update(step=-1),
        lambda tensors, document: document.update(step=True),
        lambda tensors, document: document.update(step=10**9),
        lambda tensors, document: document.update(loss_sum="0"),
        lambda tensors, document: document.update(records=[{"epoch": 1}]),
        lambda tensors, document: document["records"][0].update(loss="low"),
        lambda tensors, document: document["records"][0].update(epoch=None),
    ],
)
def test_a_checkpoint_with_a_part_missing_or_wrong_is_refused(images, checkpoint, damage):
    tensors, document = read_tensors(checkpoint)
    damage(tensors, document)
    write_tensors(checkpoint, tensors, document)
    with pytest.raises(ModelFileError, match="must hold"):
        ConvAutoencoder(**{**RECIPE, "epochs": 1}).fit(
            images, run=RunOptions(checkpoint, resume=True)
        )


def test_a_checkpoint_is_read_as_it_was_written(checkpoint, images, tmp_path):
    model = ConvAutoencoder(**{**RECIPE, "epochs": 1}).fit(images)
    options = model._options
    identity = read_tensors(checkpoint)[1]["identity"]
    read = read_checkpoint(checkpoint, model.architecture_, options, identity)
    write_checkpoint(tmp_path / "again", model.architecture_, options, identity, read)
    assert (tmp_path / "again").read_bytes() == checkpoint.read_bytes()


@pytest.fixture
def scripted_losses(monkeypatch):
    """Makes the validation losses of the epochs to come."""

    def script(*losses):
        remaining = iter(losses)
        monkeypatch.setattr(training, "_validate", lambda *_: next(remaining))

    return script


def test_the_weights_of_the_best_epoch_are_kept(images, scripted_losses):
    recipe = {**RECIPE, "learning_rate_schedule": "constant"}
    scripted_losses(3.0, 1.0, 1.0)
    model = ConvAutoencoder(**recipe).fit(images)
    assert [record["val_loss"] for record in model.history_] == [3.0, 1.0, 1.0]
    scripted_losses(3.0, 1.0)
    shorter = ConvAutoencoder(**{**recipe, "epochs": 2}).fit(images)
    assert_same_weights(model, shorter)


def test_patience_stops_a_run_that_no_longer_improves(images, scripted_losses, tmp_path):
    recipe = {**RECIPE, "epochs": 50, "patience": 2}
    scripted_losses(4.0, 3.0, 3.0, 3.5)
    path = tmp_path / "checkpoint"
    model = ConvAutoencoder(**recipe).fit(images, run=RunOptions(path))
    assert model.n_iter_ == 4
    stopped = ConvAutoencoder(**recipe).fit(images, run=RunOptions(path, resume=True))
    assert_same_model(stopped, model)


def test_a_validation_split_too_small_for_an_image_is_refused(images):
    with pytest.raises(ParameterError, match="must leave at least one image on each side"):
        ConvAutoencoder(**{**RECIPE, "validation_split": 0.001}).fit(images)


def test_validation_images_are_never_trained_on(images):
    """With the rest all black, a net that had seen the bright held-out ones would tell."""
    order = np.random.default_rng([0, 0]).permutation(len(images))
    held_out = order[: round(0.2 * len(images))]
    dark = np.zeros_like(images)
    bright = dark.copy()
    bright[held_out] = 255
    one, two = (ConvAutoencoder(**RECIPE).fit(part) for part in (dark, bright))
    assert [r["loss"] for r in one.history_] == [r["loss"] for r in two.history_]
    assert [r["val_loss"] for r in one.history_] != [r["val_loss"] for r in two.history_]


def test_a_diverging_run_ends_with_the_remedy(images):
    with pytest.raises(ParameterError, match=r"must keep .* finite; .* Lower learning_rate"):
        ConvAutoencoder(**{**RECIPE, "loss": "bce", "learning_rate": 1e5, "epochs": 50}).fit(images)


def test_training_works_outside_the_main_thread(images, unbroken):
    models = []
    thread = threading.Thread(target=lambda: models.append(ConvAutoencoder(**RECIPE).fit(images)))
    thread.start()
    thread.join()
    assert_same_model(models[0], unbroken)


def test_a_process_that_ignores_ctrl_c_goes_on(images, unbroken):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        model = ConvAutoencoder(**RECIPE).fit(
            images, run=RunOptions(observers=[Watch(1, 2, press_ctrl_c)])
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert_same_model(model, unbroken)


def test_ctrl_c_works_as_before_when_training_is_over(images):
    before = signal.getsignal(signal.SIGINT)
    ConvAutoencoder(**{**RECIPE, "epochs": 1}).fit(images)
    assert signal.getsignal(signal.SIGINT) is before


def test_few_images_are_reconstructed_as_well_after_training_as_in_it(digits):
    """The moving averages of batch normalization lag far behind a run of 12 steps."""
    recipe = {"filters": (4,), "latent_dim": 4, "encoder_passes": 1, "epochs": 12, **ADAM}
    recomputed = ConvAutoencoder(**recipe).fit(digits[:32])
    moving = ConvAutoencoder(**recipe, recompute_statistics=False).fit(digits[:32])
    last = recomputed.history_[-1]["loss"]
    assert [r["loss"] for r in moving.history_] == [r["loss"] for r in recomputed.history_]
    assert -recomputed.score(digits[:32]) < 1.05 * last
    assert -moving.score(digits[:32]) > 1.25 * last
