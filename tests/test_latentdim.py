import csv
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from convae import ConvAutoencoder, latent_dim_curve, load_dataset
from convae.errors import DataError, ParameterError
from convae.images.distortion import Distortion
from convae.jobs.latentdim import recommend

SMALL = {"filters": (8, 16), "epochs": 40, **asdict(Distortion())}


@pytest.fixture(scope="module")
def stripes():
    """Images that two numbers describe: where a stripe lies, and how bright it is."""
    random = np.random.default_rng(0)
    rows = np.arange(16)[:, None]
    found = [
        random.uniform(0.4, 1) * np.exp(-np.square((rows - random.uniform(3, 13)) / 2))
        for _ in range(400)
    ]
    return np.repeat(np.array(found, np.float32), 12, axis=2)


@pytest.mark.parametrize(
    ("mse", "recommended"),
    [
        ([0.1], 2),
        ([0.1, 0.09], 2),
        ([0.1, 0.079], 4),
        ([0.1, 0.05, 0.041, 0.04], 4),
        # Slow at first, and then worth it.
        ([0.1, 0.095, 0.03, 0.029], 8),
        ([0.1, 0.2, 0.3, 0.4], 2),
        ([0.0, 0.0], 2),
    ],
)
def test_numbers_are_worth_it_while_a_doubling_takes_a_fifth_away(mse, recommended):
    assert recommend([2, 4, 8, 16][: len(mse)], mse) == recommended


def test_the_curve_falls_until_the_images_are_described(stripes):
    seen = []
    autoencoder = ConvAutoencoder(**SMALL)
    curve = latent_dim_curve(
        stripes, autoencoder, latent_dims=(1, 2, 8), progress=lambda *done: seen.append(done)
    )
    assert curve.mse[1] < 0.5 * curve.mse[0]
    assert curve.recommended == 2
    assert curve.pca_mse[0] > curve.pca_mse[1] > curve.pca_mse[2]
    assert 40 <= curve.num_held_out < 60  # copies of an image go with it
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert autoencoder.latent_dim == 16
    assert curve.describe().lines[0].startswith("2 numbers per image: after them, twice as many ")


def test_the_chosen_number_is_trained_told_and_kept_when_resumed(
    command, stripes, tmp_path, monkeypatch
):
    monkeypatch.setitem(latent_dim_curve.__kwdefaults__, "latent_dims", (2, 4))
    np.save(tmp_path / "images.npy", stripes[:40])
    out = tmp_path / "out"
    words = (
        "train", tmp_path / "images.npy", "--latent-dim", "auto", "--filters", "4",
        "--learning-rate-schedule", "constant", "--out", out,
    )  # fmt: skip
    report = command(*words, "--epochs", "2")
    assert report.code == 0
    chosen = int(report.err.split(" numbers per image: after them")[0].split()[-1])
    assert ConvAutoencoder.load(out / "model.safetensors").latent_dim == chosen
    with (out / "latent_dim.csv").open() as file:
        assert [row["latent_dim"] for row in csv.DictReader(file)] == ["2", "4"]
    with Image.open(out / "latent_dim.png") as chart:
        assert chart.size == (768, 480)

    (out / "latent_dim.csv").unlink()
    assert command(*words, "--epochs", "3", "--resume").code == 0
    resumed = ConvAutoencoder.load(out / "model.safetensors")
    assert (resumed.latent_dim, resumed.n_iter_) == (chosen, 3)
    assert not (out / "latent_dim.csv").exists()


@pytest.mark.parametrize("latent_dims", [(), (4, 4), (8, 2), (0, 1), (1.5,)])
def test_lengths_that_do_not_ascend_are_refused(latent_dims):
    with pytest.raises(ParameterError, match="latent_dims must be"):
        latent_dim_curve(load_dataset("digits").train[:20], latent_dims=latent_dims)


def test_too_few_images_to_hold_some_out_are_refused():
    with pytest.raises(DataError, match="needs 10 images or more, to hold some out; received 9"):
        latent_dim_curve(load_dataset("digits").train[:9])
