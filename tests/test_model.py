"""A model with its jobs in one file: train, add to, apply without what trained it."""

import json
import subprocess
import sys

import numpy as np
import pytest
from coders import learn_in_steps

from convae import (
    AnomalyDetector,
    ConvAutoencoder,
    ImageCodec,
    add_jobs,
    job_kinds,
    load_dataset,
    load_model,
    train_model,
)
from convae.errors import ImageError, ModelFileError, ParameterError
from convae.jobs.anomaly.scores import NETWORK_MEASURES, SCORES
from convae.nn.network import KerasNetwork

SMALL = {"filters": (4,), "latent_dim": 3, "epochs": 1}


@pytest.fixture(scope="module")
def both_path(zeros, tmp_path_factory):
    """A model file with a detector and a codec."""
    with pytest.MonkeyPatch.context() as patch:
        learn_in_steps(patch, 20)
        model = train_model(
            zeros[0],
            ConvAutoencoder(**SMALL),
            [AnomalyDetector(false_alarm_rate=0.1), ImageCodec()],
        )
    path = tmp_path_factory.mktemp("both") / "model.safetensors"
    model.save(path)
    return path


def test_every_job_has_a_class_that_fits_it_and_one_that_applies_it():
    assert list(job_kinds()) == ["anomalies", "codec", "denoising", "sampling"]
    for kind in job_kinds().values():
        assert kind.estimator_class().kind is kind
        assert callable(kind.fitted_class().from_job)


def test_a_model_says_which_jobs_it_has_and_applies_them(both_path, zeros, tmp_path):
    model = load_model(both_path)
    assert model.jobs == ("anomalies", "codec")
    detector = AnomalyDetector.load(both_path)
    assert detector.autoencoder_.data_["num_images"] == 80
    applied = model.job("anomalies")
    np.testing.assert_array_equal(applied.p_values(zeros[2]), detector.p_values(zeros[2]))
    np.testing.assert_array_equal(applied.heat_maps(zeros[2]), detector.heat_maps(zeros[2]))
    np.testing.assert_array_equal(applied.restore(zeros[2]), detector.restore(zeros[2]))
    model.job("codec").compress(zeros[1], tmp_path / "zeros.cae")
    with ImageCodec.load(both_path).open(tmp_path / "zeros.cae") as archive:
        np.testing.assert_array_equal(np.stack([*archive]), zeros[1])
    rebuilt = ConvAutoencoder.load(both_path).reconstruct(zeros[1])
    np.testing.assert_array_equal(model.autoencoder.reconstruct(zeros[1]), rebuilt)


def test_a_model_that_is_saved_again_is_the_same_file(both_path, tmp_path):
    load_model(both_path).save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == both_path.read_bytes()


def test_a_job_that_a_model_lacks_is_refused(model_path):
    model = load_model(model_path)
    assert model.jobs == ()
    with pytest.raises(ModelFileError) as refusal:
        model.job("anomalies")
    assert str(refusal.value) == (
        f"{model_path} must hold an anomaly detector; received a model without one. Make one: "
        f"convae train IMAGES --for anomalies."
    )
    with pytest.raises(KeyError):
        model.job("painting")


def test_jobs_are_added_to_a_network_that_stays_as_it_is(zeros, monkeypatch):
    learn_in_steps(monkeypatch, 20)
    trained = ConvAutoencoder(**SMALL).fit(zeros[0])
    before = trained.weights_
    coded = add_jobs(zeros[0], trained, [ImageCodec()])
    detector = AnomalyDetector(false_alarm_rate=0.1)
    model = add_jobs(zeros[0], ConvAutoencoder.from_contents(coded.contents), [detector])
    assert model.jobs == ("codec", "anomalies")
    for name, value in model.contents.weights.items():
        np.testing.assert_array_equal(value, before[name])
    # The network saw the images that calibrate, so no score that needs it was chosen from.
    assert NETWORK_MEASURES.isdisjoint(SCORES[detector.choice_.score])
    np.testing.assert_array_equal(
        np.sort(detector.score_samples(zeros[0][detector.calibration_indices_])),
        detector.calibration_.scores,
    )
    assert len(detector.scores_.reference_latents) == 80


def test_scores_that_need_the_network_are_not_tried_where_it_saw_the_images(digits):
    trained = ConvAutoencoder(**SMALL).fit(digits)
    detector = AnomalyDetector(calibration_fraction=0.8, false_alarm_rate=0.2)
    add_jobs(load_dataset("digits").train[:128], trained, [detector])
    assert set(detector.choice_.aurocs) == {"neighbors", "neighbors and peaks"}


def test_images_of_another_size_are_refused(fitted, random_images):
    with pytest.raises(ImageError, match="Images must be of the size fitted on, 28 x 28 x 1"):
        add_jobs(random_images(4, 12, 12, 1), fitted, [AnomalyDetector()])


def test_parameters_of_a_job_are_refused_before_anything_is_trained(zeros, monkeypatch):
    monkeypatch.setattr(ConvAutoencoder, "fit", lambda *_, **__: pytest.fail("too late"))
    with pytest.raises(ParameterError, match="most_anomalies must be from 0 to"):
        train_model(zeros[0], ConvAutoencoder(**SMALL), [AnomalyDetector(most_anomalies=0.5)])


def test_the_command_line_adds_a_job_to_a_model(command, zeros, model_path, tmp_path):
    np.save(tmp_path / "zeros.npy", zeros[0])
    out = tmp_path / "out"
    arguments = ("train", tmp_path / "zeros.npy", "--model", model_path, "--out", out)
    done = command(*arguments, "--for", "anomalies", "--json")
    assert done.code == 0
    report = json.loads(done.out)
    assert report["judged_on"] == "training"
    assert report["jobs"]["anomalies"]["num_calibration_images"] == 20
    model = load_model(out / "model.safetensors")
    assert model.jobs == ("anomalies",)
    before = load_model(model_path).contents.weights
    for name, value in model.contents.weights.items():
        np.testing.assert_array_equal(value, before[name])
    for options in ((), ("--for", "codec", "--epochs", "3"), ("--for", "codec", "--resume")):
        done = command(*arguments, *options, "--overwrite")
        assert done.code == 1
        assert "--model must come with --for and without training options; rec" in done.err


APPLY = """
import sys
class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("keras", "jax", "tensorflow", "torch", "scipy", "sklearn"):
            raise ImportError(f"{name} must not be imported")
sys.meta_path.insert(0, Forbidden())
import importlib, pkgutil
import numpy as np
import convae.jobs
from convae.jobs.kind import job_kinds
for kind in job_kinds().values():
    kind.fitted_class()
import oracle
from convae.architecture.network import after_passes
from convae.jobs.model import TrainedModel
from convae.storage.modelfile import read_model
from convae.coding.archive import ImageArchive

class NumpyNetwork:
    def __init__(self, architecture, weights):
        self.architecture, self._weights = architecture, weights
    def encode(self, images):
        answer = lambda latents: self.answer(self.decode(latents))
        return after_passes(self.answer(images), answer, self.architecture.encoder_passes)
    def answer(self, images):
        return oracle.encode(self.architecture, self._weights, images).astype(np.float32)
    def decode(self, latents):
        return oracle.decode(self.architecture, self._weights, latents).astype(np.float32)
    def reconstruct(self, images):
        return self.decode(self.encode(images))

folder = sys.argv[1]
images = np.load(f"{folder}/images.npy")
model = TrainedModel(read_model(f"{folder}/model.safetensors"), make_network=NumpyNetwork)
detector = model.job("anomalies")
detector.false_alarm_rate = 0.1
np.savez(
    f"{folder}/found.npz",
    p_values=detector.p_values(images),
    scores=detector.score_samples(images),
    heat=detector.heat_maps(images),
    restored=detector.restore(images),
    rebuilt=model.autoencoder.reconstruct(images),
    latents=model.autoencoder.transform(images),
)
model.job("codec").compress(images, f"{folder}/lossless.cae")
model.job("codec").compress(images, f"{folder}/tiny.cae", tiny=True, refinement_steps=0)
with model.job("codec").open(f"{folder}/lossless.cae") as archive:
    np.save(f"{folder}/decoded.npy", np.stack([*archive]))
"""


def test_applying_needs_numpy_alone_and_gives_the_same(both_path, zeros, tmp_path):
    images = np.concatenate([zeros[1][:6], zeros[2][:6]])
    np.save(tmp_path / "images.npy", images)
    (tmp_path / "model.safetensors").write_bytes(both_path.read_bytes())
    done = subprocess.run(
        [sys.executable, "-c", APPLY, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=str(__file__).rpartition("/")[0],
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = np.load(tmp_path / "found.npz")
    detector = AnomalyDetector.load(both_path).set_params(false_alarm_rate=0.1)
    np.testing.assert_array_equal(found["p_values"], detector.p_values(images))
    np.testing.assert_allclose(found["scores"], detector.score_samples(images), rtol=0, atol=2e-6)
    np.testing.assert_allclose(found["heat"], detector.heat_maps(images), rtol=1e-5)
    for name, expected in (
        ("restored", detector.restore(images)),
        ("rebuilt", detector.autoencoder_.reconstruct(images)),
        ("latents", detector.autoencoder_.transform(images)),
    ):
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(np.load(tmp_path / "decoded.npy"), images)
    codec = ImageCodec.load(both_path)
    for name, options in (("lossless", {}), ("tiny", {"tiny": True, "refinement_steps": 0})):
        codec.compress(images, tmp_path / "again.cae", **options)
        assert (tmp_path / "again.cae").read_bytes() == (tmp_path / f"{name}.cae").read_bytes()


def test_a_network_is_built_when_it_is_first_used(fitted, digits):
    network = KerasNetwork(fitted.architecture_, fitted.weights_)
    assert network._model is None
    np.testing.assert_array_equal(
        network.reconstruct(digits / np.float32(255)), fitted.reconstruct(digits)
    )
    assert network._model is not None
