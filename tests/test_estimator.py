import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from convae import ConvAutoencoder, load_dataset
from convae.errors import ImageError, ModelFileError, OutputError, ParameterError
from convae.nn.backend import keras
from convae.storage.modelfile import FittedJob, read_model, write_model

TINY = {"filters": (3,), "latent_dim": 2, "epochs": 1}


def test_shapes_types_and_ranges_are_those_of_the_contract(fitted, digits):
    latents = fitted.transform(digits)
    assert latents.shape == (64, 6)
    assert latents.dtype == np.float32
    images = fitted.inverse_transform(latents)
    assert images.shape == digits.shape
    assert images.dtype == np.float32
    assert images.min() >= 0
    assert images.max() <= 1
    np.testing.assert_allclose(fitted.reconstruct(digits), images, atol=1e-6)


def test_scores_are_minus_the_squared_error_so_higher_is_more_normal(fitted, digits):
    scores = fitted.score_samples(digits)
    off = fitted.reconstruct(digits).astype(np.float64) - digits / 255
    np.testing.assert_allclose(scores, -np.mean(off**2, axis=(1, 2, 3)), rtol=1e-5)
    assert fitted.score(digits) == pytest.approx(scores.mean())
    noise = np.random.default_rng(0).integers(0, 256, digits.shape, dtype=np.uint8)
    assert fitted.score_samples(noise).mean() < scores.mean()


@settings(max_examples=6, deadline=None)
@given(
    st.integers(8, 21),
    st.integers(8, 21),
    st.sampled_from([1, 3, 4]),
    st.booleans(),
    st.integers(1, 5),
)
def test_any_size_and_type_of_image_comes_back_at_its_own_size(
    height, width, channels, floats, count
):
    images = np.random.default_rng(0).integers(
        0, 256, (count, height, width, channels), dtype=np.uint8
    )
    if floats:
        images = images / 255
    model = ConvAutoencoder(**TINY).fit(images)
    assert model.reconstruct(images).shape == images.shape
    assert model.inverse_transform(model.transform(images)).shape == images.shape
    assert model.score_samples(images).shape == (count,)


def test_bytes_and_floats_of_the_same_image_are_the_same_image(random_images):
    images = random_images(20, 8, 9, 3)
    one, two = (ConvAutoencoder(**TINY).fit(part) for part in (images, images / np.float32(255)))
    np.testing.assert_array_equal(one.transform(images), two.transform(images / np.float32(255)))
    np.testing.assert_array_equal(one.transform(images), one.transform(images / 255.0))


def test_a_missing_channel_axis_is_accepted_and_stays_missing(random_images, tmp_path):
    images = random_images(12, 10, 9)
    model = ConvAutoencoder(**TINY).fit(images)
    model.save(tmp_path / "model")
    for fitted in (model, ConvAutoencoder.load(tmp_path / "model")):
        assert fitted.reconstruct(images).shape == (12, 10, 9)
        assert fitted.reconstruct(images[..., np.newaxis]).shape == (12, 10, 9, 1)
        assert fitted.inverse_transform(fitted.transform(images)).shape == (12, 10, 9)


def test_one_image_at_a_time_gives_what_all_at_once_give(fitted, digits):
    together = fitted.transform(digits)
    for index in (0, 1, 63):
        alone = fitted.transform(digits[index : index + 1])
        np.testing.assert_allclose(alone[0], together[index], rtol=1e-4, atol=1e-5)


def test_more_images_than_a_chunk_are_all_there(fitted, digits, monkeypatch):
    expected = fitted.transform(digits), fitted.reconstruct(digits), fitted.score_samples(digits)
    monkeypatch.setattr("convae.images.memory.CHUNK_VALUES", 10 * digits[0].size)
    monkeypatch.setattr("convae.nn.predict.MOST_NUMBERS", 4 * 9 * 28 * 28)
    found = fitted.transform(digits), fitted.reconstruct(digits), fitted.score_samples(digits)
    for one, two in zip(expected, found, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)


def test_images_of_another_size_are_refused(fitted, random_images):
    for method in (fitted.transform, fitted.reconstruct, fitted.score_samples, fitted.score):
        with pytest.raises(ImageError) as refusal:
            method(random_images(2, 28, 20, 3))
        assert str(refusal.value).startswith(
            "Images must be of the size fitted on, 28 x 28 x 1 (height, width, channels); "
            "received 28 x 20 x 3. Resize them"
        )


@pytest.mark.parametrize(
    ("latents", "message"),
    [
        (
            np.zeros((3, 5)),
            r"must be numbers of shape \(num_images, 6\); received float64 of shape",
        ),
        (np.zeros(6), r"received float64 of shape \(6,\)"),
        (np.full((1, 6), np.nan), "must be finite; received NaN or infinity"),
        (np.full((1, 6), "a"), "must be numbers of shape"),
    ],
)
def test_what_is_no_latent_is_refused(fitted, latents, message):
    with pytest.raises(ImageError, match=message):
        fitted.inverse_transform(latents)


def test_the_validation_images_can_be_told_from_the_others(random_images):
    images = random_images(20, 8, 8)
    model = ConvAutoencoder(**TINY, validation_split=0.2).fit(images)
    assert model.validation_indices_.tolist() == sorted(set(model.validation_indices_.tolist()))
    assert len(model.validation_indices_) == 4
    assert len(ConvAutoencoder(**TINY).fit(images).validation_indices_) == 0
    part = images[model.validation_indices_]
    assert model.history_[0]["val_loss"] == pytest.approx(-model.score(part), rel=1e-4)


def test_nothing_works_before_fit():
    model = ConvAutoencoder()
    for use in (
        lambda: model.transform(np.zeros((1, 28, 28), np.uint8)),
        lambda: model.inverse_transform(np.zeros((1, 16))),
        lambda: model.reconstruct(np.zeros((1, 28, 28), np.uint8)),
        lambda: model.score_samples(np.zeros((1, 28, 28), np.uint8)),
        lambda: model.save("nowhere"),
        lambda: model.keras_model,
        lambda: model.weights_,
    ):
        with pytest.raises(NotFittedError):
            use()


def test_parameters_are_stored_untouched_and_checked_in_fit(random_images):
    model = ConvAutoencoder(filters=[3], epochs=-1)
    assert model.get_params()["filters"] == [3]
    with pytest.raises(ParameterError, match="epochs must be from 1 to 5000; received -1"):
        model.fit(random_images(4, 8, 8))
    copy = clone(model.set_params(epochs=1, latent_dim=3))
    assert copy.get_params() == model.get_params()
    assert copy.fit(random_images(4, 8, 8)).transform(random_images(4, 8, 8)).shape == (4, 3)


def test_a_preset_is_its_parameters_with_changes_over_them():
    assert ConvAutoencoder.from_preset("reference").get_params()["epochs"] == 20
    assert ConvAutoencoder.from_preset("reference", epochs=2).get_params()["epochs"] == 2
    with pytest.raises(ParameterError, match="one of fast, best, reference; received 'worst'"):
        ConvAutoencoder.from_preset("worst")


def test_latents_feed_a_pipeline():
    digits = load_dataset("digits")
    images, labels = digits.train[:300], digits.train_labels[:300]
    pipeline = make_pipeline(
        ConvAutoencoder(filters=(8, 16), latent_dim=12, epochs=10),
        KNeighborsClassifier(),
    ).fit(images, labels)
    assert pipeline.score(digits.test[:100], digits.test_labels[:100]) > 0.7


def test_a_grid_search_prefers_the_longer_training():
    images = load_dataset("digits").train[:120]
    model = ConvAutoencoder(filters=(8,), latent_dim=8, learning_rate=1e-2)
    search = GridSearchCV(model, {"epochs": [1, 10]}, cv=2).fit(images)
    assert search.best_params_ == {"epochs": 10}
    assert search.best_estimator_.n_iter_ == 10
    assert search.best_score_ == max(search.cv_results_["mean_test_score"])


def test_columns_have_names_and_can_be_a_table(random_images):
    images = random_images(5, 8, 8)
    model = ConvAutoencoder(**TINY).set_output(transform="pandas").fit(images)
    assert list(model.transform(images).columns) == ["convautoencoder0", "convautoencoder1"]


def test_the_file_gives_the_same_model_back(fitted, model_path, digits, tmp_path):
    loaded = ConvAutoencoder.load(model_path)
    # What `fit` chose of how images are distorted is settled: nothing, for these digits.
    chosen = {"translation": 0, "warp": 0.0, "flip": "none", "brightness": 0.0, "tint": 0.0}
    assert loaded.get_params() == {**fitted.get_params(), **chosen}
    np.testing.assert_array_equal(loaded.transform(digits), fitted.transform(digits))
    assert loaded.n_iter_ == 8
    assert loaded.data_["num_images"] == 64
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == model_path.read_bytes()


def test_loading_and_saving_again_needs_no_keras_model(model_path, tmp_path):
    loaded = ConvAutoencoder.load(model_path)
    loaded.save(tmp_path / "again")
    assert loaded.network_._model is None
    assert (tmp_path / "again").read_bytes() == model_path.read_bytes()


def test_what_a_job_fitted_is_kept_until_the_next_fit(model_path, tmp_path, digits):
    job = FittedJob({"rate": 0.5}, {"table": np.arange(3, dtype=np.uint8)})
    write_model(tmp_path / "a", dataclasses.replace(read_model(model_path), jobs={"finding": job}))
    loaded = ConvAutoencoder.load(tmp_path / "a")
    loaded.save(tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()
    loaded.set_params(epochs=1).fit(digits).save(tmp_path / "c")
    assert read_model(tmp_path / "c").jobs == {}


def test_a_pickle_is_the_same_model(fitted, digits):
    for stage in (fitted, pickle.loads(pickle.dumps(fitted))):  # noqa: S301 # our own
        again = pickle.loads(pickle.dumps(stage))  # noqa: S301 # our own
        np.testing.assert_array_equal(again.transform(digits), fitted.transform(digits))


def test_the_keras_model_is_an_ordinary_one_and_training_it_trains_the_estimator(
    digits, tmp_path, capsys
):
    model = ConvAutoencoder(**TINY).fit(digits)
    before = model.score(digits)
    network = model.keras_model
    assert isinstance(network, keras.Model)
    network.summary()
    assert "autoencoder" in capsys.readouterr().out
    images = digits / np.float32(255)
    network.compile("adam", "mse")
    epochs_seen = []
    network.fit(
        images,
        images,
        epochs=4,
        verbose=0,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=lambda e, _: epochs_seen.append(e))],
    )
    assert epochs_seen == [0, 1, 2, 3]
    after = model.score(digits)
    assert after != before
    model.save(tmp_path / "model")
    assert ConvAutoencoder.load(tmp_path / "model").score(digits) == pytest.approx(after)


@pytest.mark.parametrize(
    "damage",
    [
        lambda training: training.pop("options"),
        lambda training: training["options"].update(epochs=-1),
        lambda training: training["options"].update(more=1),
        lambda training: training.update(options="none"),
        lambda training: training.pop("history"),
        lambda training: training.update(history=[1]),
        lambda training: training.update(history={"epoch": 1}),
        lambda training: training.update(history=[{"epoch": "1"}]),
    ],
)
def test_a_file_with_a_strange_training_section_is_refused(model_path, tmp_path, damage):
    contents = read_model(model_path)
    damage(contents.training)
    write_model(tmp_path / "model", contents)
    with pytest.raises(ModelFileError, match="its training section must hold"):
        ConvAutoencoder.load(tmp_path / "model")


def test_a_model_that_cannot_be_written_says_so(fitted, tmp_path):
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(OutputError, match="A result must be writable where it was asked for"):
        fitted.save(tmp_path / "file" / "model")
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_twelve_pictures_that_are_all_equal_can_be_fitted(random_images):
    images = np.repeat(random_images(1, 8, 8, 3), 12, axis=0)
    model = ConvAutoencoder(**{**TINY, "epochs": 3}).fit(images)
    assert np.isfinite(model.reconstruct(images)).all()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.full((2, 8, 8), np.nan), "NaN"),
        (np.full((2, 8, 8), 200.0), "255"),
        (np.zeros((0, 8, 8), np.uint8), "image"),
        (np.zeros((2, 7, 8), np.uint8), "8"),
        (np.zeros((2, 8, 8, 2), np.uint8), "channels"),
        ("pictures", "received <U8"),
    ],
)
def test_what_is_no_set_of_images_is_refused(images, message):
    with pytest.raises(ImageError, match=message):
        ConvAutoencoder(**TINY).fit(images)
