import dataclasses
import pickle
import re

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score

from convae import AnomalyDetector, ConvAutoencoder, load_dataset
from convae.errors import ImageError, ModelFileError, ParameterError
from convae.images import contract, store_images
from convae.images.selection import Selection
from convae.jobs.anomaly.choice import Choice
from convae.jobs.anomaly.choose import COMPONENTS, NEIGHBORS
from convae.jobs.anomaly.detector import _num_choosing
from convae.jobs.anomaly.heat import largest_boxes
from convae.jobs.anomaly.scores import SCORES, scores_for
from convae.storage.modelfile import read_model, write_model

JOB = "anomalies"

SMALL = {"filters": (4, 8), "latent_dim": 4, "epochs": 4}


def small_detector(**changes):
    return AnomalyDetector(ConvAutoencoder(**SMALL), **changes)


def test_other_digits_are_told_from_zeros_that_were_never_seen(detector, zeros):
    _, normal, others = zeros
    scores = np.concatenate([detector.score_samples(normal), detector.score_samples(others)])
    assert roc_auc_score(np.repeat([1, 0], [len(normal), len(others)]), scores) > 0.99
    assert np.mean(detector.predict(others) == -1) > 0.9
    # 51 zeros at a rate of 0.1: 95 % of the time at most 9 false alarms.
    assert np.sum(detector.predict(normal) == -1) <= 9


def test_the_answers_agree_with_each_other(detector, zeros):
    _, normal, others = zeros
    images = np.concatenate([normal, others[:30]])
    scores, p_values = detector.score_samples(images), detector.p_values(images)
    decisions, predictions = detector.decision_function(images), detector.predict(images)
    assert scores.dtype == p_values.dtype == decisions.dtype == np.float64
    assert predictions.dtype == np.int64
    np.testing.assert_array_equal(p_values, detector.calibration_.p_values(scores))
    np.testing.assert_array_equal(predictions == -1, p_values <= 0.1)
    np.testing.assert_array_equal(predictions == -1, decisions < 0)
    np.testing.assert_array_equal(np.argsort(decisions), np.argsort(scores))
    together = detector.judge(images)
    for one, alone in zip(together, (scores, detector.heat_maps(images)), strict=True):
        np.testing.assert_array_equal(one, alone)


def test_what_calibrates_was_not_trained_on(detector, zeros):
    held_out = detector.calibration_indices_
    assert len(held_out) == len(detector.calibration_.scores) == 20
    assert detector.autoencoder_.data_["num_images"] == 80
    assert len(detector.scores_.reference_latents) == 80
    np.testing.assert_array_equal(
        np.sort(detector.score_samples(zeros[0][held_out])), detector.calibration_.scores
    )


def test_with_enough_images_a_score_is_chosen_on_some_that_do_not_calibrate(digits):
    chosen = small_detector(calibration_fraction=0.5, false_alarm_rate=0.2).fit(
        load_dataset("digits").train[:200]
    )
    assert len(chosen.calibration_indices_) == 75
    choice = chosen.choice_
    assert set(choice.aurocs) == set(scores_for(1)) == set(SCORES) - {"neighbors and colors"}
    assert set(choice.cheap_aurocs) == {NEIGHBORS, COMPONENTS}
    assert all(0 < auroc <= 1 for auroc in choice.aurocs.values())
    assert choice.reason.startswith("tells 25 held-out normal images from 5 kinds of made-up")
    assert f"mean AUROC of {choice.aurocs[choice.score]:.3f}" in choice.reason
    assert chosen.predict(digits).shape == (64,)


def test_saved_and_loaded_it_decides_the_same(detector, detector_path, zeros):
    loaded = AnomalyDetector.load(detector_path)
    for images in zeros:
        np.testing.assert_array_equal(loaded.heat_maps(images), detector.heat_maps(images))
        np.testing.assert_array_equal(loaded.score_samples(images), detector.score_samples(images))
        np.testing.assert_array_equal(loaded.predict(images), detector.predict(images))
    assert loaded.choice_ == detector.choice_
    assert loaded.false_alarm_rate == 0.1


def test_the_file_is_the_autoencoders_too_and_is_kept_whole(detector, detector_path, tmp_path):
    autoencoder = ConvAutoencoder.load(detector_path)
    for name, value in detector.autoencoder_.weights_.items():
        np.testing.assert_array_equal(autoencoder.weights_[name], value)
    for again in (autoencoder, AnomalyDetector.load(detector_path)):
        again.save(tmp_path / "again")
        assert (tmp_path / "again").read_bytes() == detector_path.read_bytes()


def test_calibrating_anew_changes_what_scores_are_held_against_and_nothing_else(
    detector_path, zeros
):
    loaded = AnomalyDetector.load(detector_path)
    _, normal, others = zeros
    before = loaded.score_samples(normal)
    assert loaded.calibrate(others[:60]) is loaded
    np.testing.assert_array_equal(loaded.score_samples(normal), before)
    np.testing.assert_array_equal(
        loaded.calibration_.scores, np.sort(loaded.score_samples(others[:60]))
    )
    assert (loaded.p_values(normal) > 0.1).all()


def test_a_normal_image_has_no_heat_but_for_the_stated_share(detector, zeros):
    _, normal, others = zeros
    heat = detector.heat_maps(normal)
    assert heat.shape == (51, 28, 28)
    assert heat.dtype == np.float32
    # At a rate of 0.1, 95 % of the time at most 9 of 51.
    assert (heat.max(axis=(1, 2)) > 0).sum() <= 9
    hot = detector.heat_maps(others)
    np.testing.assert_array_equal(hot.any(axis=(1, 2)), detector.predict(others) == -1)
    assert hot[hot > 0].min() > 1
    rare = detector.heat_maps(np.concatenate([normal, others]), false_alarm_rate=0.05)
    blank = ~rare.any(axis=(1, 2))
    np.testing.assert_array_equal(blank, detector.p_values(np.concatenate([normal, others])) > 0.05)
    assert 0 < blank.sum() < len(blank)
    with pytest.raises(ParameterError, match="needs at least 99 calibration images"):
        detector.heat_maps(others, false_alarm_rate=0.01)


def test_the_heat_is_where_something_was_added(detector, zeros):
    changed = zeros[1][:20].copy()
    changed[:, 2:6, 2:6] = 255
    heat = detector.heat_maps(changed)
    assert (heat.max(axis=(1, 2)) > 0).mean() > 0.8
    found = [box for box in largest_boxes(heat) if box is not None]
    assert np.mean([box.left < 8 and box.top < 8 for box in found]) > 0.8


@pytest.fixture(scope="module")
def orange():
    """Zeros in shades of orange on blue, and a detector that chose its score on some of them."""
    digits = load_dataset("digits")
    chosen = digits.train[digits.train_labels == 0].astype(np.float32) / 255
    shades = np.random.default_rng(0).uniform(0.9, 1, (len(chosen), 1, 1, 3))
    images = chosen * (1, 0.6, 0.1) * shades + (1 - chosen) * (0.1, 0.1, 0.4)
    images = np.rint(255 * images).astype(np.uint8)
    detector = small_detector(calibration_fraction=0.5, false_alarm_rate=0.1)
    return detector.fit(images[:130]), images[130:]


def test_an_image_in_other_colors_is_flagged_and_marked(orange, tmp_path):
    detector, normal = orange
    assert detector.choice_.score == "neighbors and colors"
    assert detector.choice_.reason.startswith("the default, since 16 images are too few to judge")
    green = normal[..., [1, 0, 2]]
    assert (detector.predict(normal) == 1).mean() > 0.7
    assert (detector.predict(green) == -1).all()
    part = normal.copy()
    part[:, 14:, :14] = green[:, 14:, :14]
    found = detector.predict(part) == -1
    assert found.mean() > 0.7
    boxes = largest_boxes(detector.heat_maps(part)[found])
    assert np.mean([box.left < 12 and box.top + box.height > 16 for box in boxes]) > 0.8
    detector.save(tmp_path / "orange.safetensors")
    loaded = AnomalyDetector.load(tmp_path / "orange.safetensors")
    np.testing.assert_array_equal(loaded.heat_maps(part), detector.heat_maps(part))
    np.testing.assert_array_equal(loaded.score_samples(green), detector.score_samples(green))


def test_what_is_of_another_color_is_suspected(orange):
    _, normal = orange
    images = np.concatenate([normal, normal[:2, ..., ::-1]])
    detector = small_detector(most_anomalies=0.1, calibration_fraction=0.3).fit(images)
    assert set(detector.suspects_[:2]) == {len(normal), len(normal) + 1}


def test_restoring_takes_away_what_was_added(detector, zeros):
    normal = zeros[1][:20]
    changed = normal.copy()
    changed[:, 2:5, 2:5] = 255
    restored = detector.restore(changed)
    assert restored.shape == changed.shape
    assert restored.dtype == np.float32
    assert np.abs(restored - detector.restore(normal))[:, 2:5, 2:5].mean() < 0.1
    gray = AnomalyDetector.restore(detector, normal[..., 0])
    np.testing.assert_allclose(gray, detector.restore(normal)[..., 0], atol=1e-6)


def test_anomalies_among_the_training_images_are_suspected_and_have_no_part(zeros):
    normal, _, others = zeros
    images = np.concatenate([normal, others[:10]])
    found = small_detector(false_alarm_rate=0.1, most_anomalies=0.1).fit(images)
    assert len(found.suspects_) == 11
    assert np.sum(found.suspects_ >= 100) >= 9
    assert not set(found.suspects_) & set(found.calibration_indices_)
    # 28 of 110 are set aside, and a fifth is held out.
    assert 60 <= found.autoencoder_.data_["num_images"] <= 82
    assert (found.predict(others[10:]) == -1).mean() > 0.9
    assert len(small_detector().fit(images).suspects_) == 0


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.3, "most_anomalies must be from 0 to 0.25; received 0.3."),
        (-0.1, "most_anomalies must be from 0 to 0.25; received -0.1."),
        (float("nan"), "most_anomalies must be from 0 to 0.25; received nan."),
        (True, "most_anomalies must be a number; received True."),
        ("few", "most_anomalies must be a number; received 'few'."),
    ],
)
def test_a_share_of_anomalies_outside_its_range_is_refused(zeros, share, text):
    with pytest.raises(ParameterError, match=re.escape(text)):
        small_detector(most_anomalies=share).fit(zeros[0])


def test_images_that_choose_leave_enough_to_calibrate():
    found = {count: _num_choosing(count) for count in (10, 60, 100, 118, 119, 120, 200, 2000)}
    assert found == {10: 2, 60: 15, 100: 25, 118: 29, 119: 20, 120: 21, 200: 50, 2000: 300}


def test_twelve_images_support_a_large_rate_and_the_refusal_says_which(zeros):
    few = small_detector().fit(zeros[0][:12])
    assert few.p_values(zeros[2][:3]) == pytest.approx([1 / 3] * 3)
    text = (
        "A false-alarm rate of 0.01 needs at least 99 calibration images; received 2, which "
        "support 0.333 or more."
    )
    for ask in (few.predict, few.decision_function):
        with pytest.raises(ParameterError, match=re.escape(text)):
            ask(zeros[2])
    warnings = few.describe().figures["warnings"]
    # 97 are missing, and a fifth of the images calibrates.
    assert "train with some 485 more images, or calibrate on 99 others" in warnings[0]
    assert warnings[0] in few.describe().lines
    few.set_params(false_alarm_rate=0.4)
    assert not any("too few" in text for text in few.describe().figures["warnings"])
    assert (few.predict(zeros[2]) == -1).mean() > 0.9


@pytest.mark.parametrize("shape", [(30, 9, 13, 3), (30, 16, 8, 4), (30, 12, 12)])
def test_color_odd_sizes_and_no_channel_axis_are_handled(random_images, tmp_path, shape):
    images = random_images(*shape)
    images[:, :5] = 40  # so that they have something in common
    found = small_detector(false_alarm_rate=0.2).fit(images)
    strange = images[:6, ::-1]
    assert (found.score_samples(strange) < found.calibration_.scores.min()).all()
    found.save(tmp_path / "a")
    loaded = AnomalyDetector.load(tmp_path / "a")
    np.testing.assert_array_equal(loaded.p_values(images), found.p_values(images))


def test_equal_images_are_all_normal_and_another_is_not():
    equal = np.full((40, 10, 10, 1), 200, np.uint8)
    found = small_detector(false_alarm_rate=0.2).fit(equal)
    np.testing.assert_array_equal(found.p_values(equal), 1)
    other = equal[:1].copy()
    other[0, 2:7, 3:6] = 0
    assert found.predict(other) == [-1]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_images_that_are_not_finite_are_refused(detector, bad):
    images = np.zeros((3, 28, 28, 1), np.float32)
    images[1, 4, 4] = bad
    for ask in (detector.score_samples, detector.calibrate, small_detector().fit):
        with pytest.raises(ImageError, match="finite"):
            ask(images)


def test_images_of_another_size_are_refused(detector):
    with pytest.raises(ImageError, match="must be of the size fitted on, 28 x 28 x 1"):
        detector.predict(np.zeros((2, 20, 20, 1), np.uint8))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"false_alarm_rate": 0}, "false_alarm_rate must be above 0 and below 1; received 0."),
        ({"calibration_fraction": 0.001}, "calibration_fraction must leave at least one image on"),
        ({"calibration_fraction": 1.5}, "calibration_fraction must be above 0 and below 1; rec"),
        ({"calibration_fraction": 0}, "calibration_fraction must be above 0 and below 1; rec"),
        ({"calibration_fraction": 0.95}, "must leave at least 2 images to learn from; received"),
    ],
)
def test_parameters_outside_their_range_are_refused(zeros, changes, text):
    with pytest.raises(ParameterError, match=re.escape(text)):
        small_detector(**changes).fit(zeros[0][:20])


def test_the_parameters_are_kept_and_cloned_and_the_given_autoencoder_is_not_fitted(zeros):
    given = ConvAutoencoder(**SMALL)
    found = AnomalyDetector(given, false_alarm_rate=0.3, seed=4)
    again = clone(found).fit(zeros[0][:20])
    assert again.autoencoder_.get_params() == given.get_params()
    for autoencoder in (given, found.autoencoder):
        with pytest.raises(NotFittedError):
            autoencoder.transform(zeros[0])
    with pytest.raises(NotFittedError):
        found.predict(zeros[0])


def test_a_pickle_decides_the_same(detector, zeros):
    again = pickle.loads(pickle.dumps(detector))  # noqa: S301 # our own
    np.testing.assert_array_equal(again.predict(zeros[2]), detector.predict(zeros[2]))


def test_a_model_without_a_detector_is_refused_with_the_way_to_make_one(model_path):
    with pytest.raises(ModelFileError, match="received a model without one"):
        AnomalyDetector.load(model_path)


def spoil(job, path, value):
    """The job with one of its values replaced, or taken out where the value is ...."""
    settings, tables = {**job.settings}, {**job.tables}
    place = tables if len(path) == 1 and path[0] in tables else settings
    for name in path[:-1]:
        place[name] = {**place[name]}
        place = place[name]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value(place[path[-1]]) if callable(value) else value
    return dataclasses.replace(job, settings=settings, tables=tables)


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        (("edges_mean",), ..., "must be 7 tables; received 6, missing ['edges_mean'], unknown []"),
        (("edges_mean",), lambda a: a[:-1], "edges_mean must be a float32 array of shape (2352,)"),
        (("edges_mean",), lambda a: a.astype(np.float64), "received float64 of shape (2352,)"),
        (("edges_components",), lambda a: a[0, :1], "edges_components must be a float32 array"),
        (("edges_components",), lambda a: a[:0], "received float32 of shape (0, 2352)"),
        (("reference_edges",), lambda a: a[:5], "must be a float32 array of shape (80, 64)"),
        (("reference_edges",), lambda a: a[:, :3], "reference_edges must be a float32 array"),
        (("latent_precision",), lambda a: a[:2], "must be a float64 array of shape (4, 4)"),
        (("calibration_scores",), lambda a: a[:0], "images,); received float64 of shape (0,)"),
        (("calibration_scores",), lambda a: a[None], "received float64 of shape (1, 20)"),
        (("calibration_scores",), lambda a: a.astype(np.float32), "received float32 of shape (20"),
        (("heat_units",), {}, "heat_units must have the keys ['edges']"),
        (("heat_units", "edges"), "1", "heat_units must be numbers from 0 to 1e+30 by name"),
        (("settings",), [], "A detector's settings must have the keys"),
        (("settings", "seed"), -1, "seed must be from 0"),
        (("settings", "most_anomalies"), 0.5, "most_anomalies must be from 0 to 0.25"),
        (("settings", "false_alarm_rate"), 2, "false_alarm_rate must be above 0 and below 1"),
        (("settings", "calibration_fraction"), "x", "calibration_fraction must be a number"),
        (("choice",), ..., "A detector must have the keys ['choice', 'heat_units', 'settings']"),
        (("choice", "score"), "best", "A score must be one of neighbors,"),
        (("choice", "score"), ["a"], "A score must be one of neighbors,"),
        (("choice", "score"), "neighbors and colors", "A score must be one of neighbors,"),
        (("choice", "score"), "edges", "centers must have the keys ['edges']"),
        (("choice", "reason"), 3, "A reason must be text"),
        (("choice", "aurocs"), {"a": "b"}, "aurocs must be numbers from 0 to 1 by name"),
        (("choice", "cheap_aurocs"), [], "cheap_aurocs must be numbers from 0 to 1"),
        (("choice", "correlation"), None, "must be numbers from -1 to 1 by name"),
        (("choice", "scales", "neighbors"), 0, "scales must be numbers from 1e-30 to 1e+09"),
        (("choice", "scales", "neighbors"), 5e-324, "scales must be numbers from 1e-30 to 1e+09"),
        (("choice", "centers", "neighbors"), -1e300, "centers must be numbers from -1e+09 to 1e"),
        (("choice", "reason"), "x" * 1001, "A reason must be text of at most 1,000 characters"),
        (("choice", "aurocs"), {"x" * 1001: 1}, "aurocs must have at most 32 short names"),
        (("choice", "cheap_aurocs"), {str(n): 1 for n in range(33)}, "must have at most 32 short"),
        (("edges_mean",), lambda a: a * 0 + 11, "hold numbers from -10 to 10; received 11 to 11"),
        (("edges_mean",), lambda a: np.asarray(a[0]), "received float32 of shape ()"),
        (("edges_components",), lambda a: np.asarray(a[0, 0]), "received float32 of shape ()"),
        (("reference_latents",), lambda a: np.asarray(a[0, 0]), "received float32 of shape ()"),
        (("latent_mean",), lambda a: a + 1e300, "latent_mean must hold numbers from -1e+18 to 1e"),
        (("latent_precision",), lambda a: a + 1e300, "latent_precision must hold numbers from"),
        (("calibration_scores",), lambda a: np.asarray(a[0]), "received float64 of shape ()"),
        (("choice", "centers"), {}, "centers must have the keys ['neighbors']"),
    ],
)  # fmt: skip
def test_a_hostile_detector_is_refused(detector_path, tmp_path, path, value, text):
    contents = read_model(detector_path)
    job = spoil(contents.jobs[JOB], path, value)
    write_model(tmp_path / "a", dataclasses.replace(contents, jobs={JOB: job}))
    with pytest.raises(ModelFileError) as refusal:
        AnomalyDetector.load(tmp_path / "a")
    assert str(refusal.value).startswith(f"{tmp_path / 'a'} cannot be used: ")
    assert text in str(refusal.value)
    assert len(str(refusal.value)) < 700


PLAIN_CHOICE = Choice("neighbors", "", {}, {}, 0.0, {"neighbors": 0.0}, {"neighbors": 1.0})


def test_a_cheap_method_that_does_as_well_is_told():
    choice = dataclasses.replace(
        PLAIN_CHOICE,
        aurocs={"neighbors": 0.9},
        cheap_aurocs={NEIGHBORS: 0.9, COMPONENTS: 0.89},
    )
    (line,) = choice.warnings()
    assert line == (
        "On made-up anomalies, blurred pixels, nearest neighbors (0.900) does as well as the "
        "score 'neighbors' (0.900), without a network."
    )


def test_a_score_that_is_how_much_there_is_to_see_is_told():
    (line,) = dataclasses.replace(PLAIN_CHOICE, correlation=-0.9).warnings()
    assert line.startswith("The score mostly measures the amount of detail in an image: ")
    assert dataclasses.replace(PLAIN_CHOICE, correlation=-0.7).warnings() == []


def test_a_score_of_several_parts_is_minus_the_largest_of_them_standardized():
    parts = SCORES["neighbors and peaks"]
    choice = Choice(
        "neighbors and peaks",
        "",
        {},
        {},
        0.0,
        dict.fromkeys(parts, 1.0),
        dict.fromkeys(parts, 2.0),
    )
    combined = choice.combine({"neighbors": np.array([1.0, 3.0]), "peak": np.array([3.0, 2.0])})
    np.testing.assert_array_equal(combined, [-1, -1])


def test_stored_images_are_checked_once_and_never_copied_whole(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    parts = (random.random((200, 28, 28, 1), dtype=np.float32) for _ in range(10))
    images = store_images(parts, tmp_path / "images.npy")
    scanned, copied = [], []
    scan, copy = contract._float_images, Selection.__getitem__

    def note_scan(array):
        scanned.append(len(array))
        return scan(array)

    def note_copy(selection, part):
        found = copy(selection, part)
        copied.append(len(found))
        return found

    monkeypatch.setattr(contract, "_float_images", note_scan)
    monkeypatch.setattr(Selection, "__getitem__", note_copy)
    monkeypatch.setattr("convae.images.memory.CHUNK_VALUES", 2**17)
    monkeypatch.setattr("convae.jobs.anomaly.learn.MOST_REFERENCES", 50)
    monkeypatch.setattr("convae.jobs.anomaly.choose.MOST_CHEAP_IMAGES", 50)
    detector = AnomalyDetector(ConvAutoencoder(**{**SMALL, "epochs": 1})).fit(images)
    assert len(detector.calibration_.scores) == 300
    assert scanned == [2000]
    assert max(copied) <= 170
