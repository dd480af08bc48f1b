"""The verb `detect`, the option --anomalies of `train`, and the files that both leave."""

import csv
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from convae import AnomalyDetector, ConvAutoencoder
from convae.images import read_image, write_image
from convae.jobs.anomaly.detections import write_detections
from convae.storage.modelfile import read_model

TINY = ("--filters", "4", "--latent-dim", "3", "--epochs", "1")
ODD_NAME = "<b>&odd.png"


@pytest.fixture
def pictures(zeros, tmp_path):
    """Six zeros and three other digits, one with a name that is no text for a page."""
    folder = tmp_path / "pictures"
    for index, image in enumerate(zeros[1][:6]):
        write_image(folder / f"zero{index}.png", image)
    for index, image in enumerate(zeros[2][:2]):
        write_image(folder / "sub" / f"other{index}.png", image)
    write_image(folder / ODD_NAME, zeros[2][2])
    return folder


def table(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_the_table_the_overlays_and_the_page_tell_what_the_detector_says(
    command, detector, detector_path, pictures, tmp_path
):
    out = tmp_path / "out"
    done = command(
        "detect", detector_path, pictures, "--out", out, "--false-alarm-rate", "0.1", "--json"
    )
    assert done.code == 0
    report = json.loads(done.out)
    rows = table(out / "anomalies.csv")
    names = [row["image"] for row in rows]
    assert sorted(names) == sorted(
        [ODD_NAME, *(f"zero{i}.png" for i in range(6)), "sub/other0.png", "sub/other1.png"]
    )
    images = np.stack([read_image(pictures / name) for name in names])
    np.testing.assert_allclose(
        [float(row["p_value"]) for row in rows], detector.p_values(images), rtol=1e-5
    )
    flagged = detector.predict(images) == -1
    assert [row["anomaly"] for row in rows] == ["yes" if flag else "no" for flag in flagged]
    assert flagged.sum() >= 3
    assert report["num_flagged"] == flagged.sum()
    assert report["num_images"] == len(report["images"]) == 9
    for row, found, heat in zip(rows, report["images"], detector.heat_maps(images), strict=True):
        assert found["image"] == row["image"]
        assert found["anomaly"] == (row["anomaly"] == "yes")
        if heat.any():
            box = {name: int(row[name]) for name in ("left", "top", "width", "height")}
            assert found["box"] == box
            assert box["left"] + box["width"] <= 28
            assert heat[box["top"] : box["top"] + box["height"]].any()
        else:
            assert found["box"] is None
            assert row["left"] == row["height"] == ""
        assert bool(row["overlay"]) == found["anomaly"]
        if row["overlay"]:
            assert read_image(out / row["overlay"]).shape == (56, 176, 3)
    assert report["files"] == {
        "table": str(out / "anomalies.csv"),
        "page": str(out / "anomalies.html"),
    }


def test_the_page_holds_its_pictures_and_asks_for_nothing_else(
    command, detector_path, pictures, tmp_path
):
    command("detect", detector_path, pictures, "--out", tmp_path, "--false-alarm-rate", "0.1")
    text = (tmp_path / "anomalies.html").read_text(encoding="utf-8")
    tags = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            tags.append((tag, dict(attrs)))

    Reader().feed(text)
    pictures_shown = [attributes for tag, attributes in tags if tag == "img"]
    flagged = [row for row in table(tmp_path / "anomalies.csv") if row["anomaly"] == "yes"]
    assert sorted(picture["alt"] for picture in pictures_shown) == sorted(
        row["image"] for row in flagged
    )
    assert all(picture["src"].startswith("data:image/png;base64,") for picture in pictures_shown)
    assert {tag for tag, _ in tags} <= {
        "html", "head", "meta", "title", "style", "body", "h1", "p", "figure", "img", "figcaption",
        "br", "b",
    }  # fmt: skip
    assert not re.search(r"https?:|url\(|<b>&odd", text)
    assert f"{len(flagged)} of 9 images are flagged." in text


def test_only_so_many_overlays_are_left_and_those_of_an_earlier_search_are_gone(
    detector, zeros, tmp_path
):
    others = zeros[2][:6]
    names = [str(index) for index in range(6)]
    (tmp_path / "overlays").mkdir()
    (tmp_path / "overlays" / "000099.png").write_bytes(b"mine")
    (tmp_path / "overlays" / "mine.txt").write_bytes(b"mine")
    write_detections(tmp_path, detector, others, names, num_shown=6)
    write_detections(tmp_path, detector, others, names, num_shown=2)
    left = {path.name for path in (tmp_path / "overlays").iterdir()}
    lowest = np.argsort(detector.score_samples(others))[:2]
    assert left == {"000099.png", "mine.txt", *(f"{index:06}.png" for index in lowest)}
    write_detections(tmp_path / "none", detector, others, names, num_shown=0)
    assert not (tmp_path / "none" / "overlays").exists()


def test_the_usual_rate_is_the_model_s(command, detector_path, pictures, tmp_path):
    done = command("detect", detector_path, pictures, "--out", tmp_path / "out", "--json")
    assert json.loads(done.out)["false_alarm_rate"] == 0.1
    assert "false-alarm rate" not in done.err


def test_the_usual_rate_is_raised_to_what_the_calibration_supports(
    command, detector_path, pictures, tmp_path
):
    strict = AnomalyDetector.load(detector_path).set_params(false_alarm_rate=0.01)
    strict.save(tmp_path / "model.safetensors")
    options = ("--out", tmp_path / "out", "--json")
    done = command("detect", tmp_path / "model.safetensors", pictures, *options)
    smallest = strict.calibration_.smallest_rate
    assert smallest > 0.01
    assert json.loads(done.out)["false_alarm_rate"] == smallest
    assert (
        f"support a false-alarm rate of {smallest:.3g} or more, which is taken; for 0.01 there "
        f"must be 99 of them"
    ) in done.err
    options = ("--out", tmp_path / "out", "--overwrite", "--false-alarm-rate", 0.01)
    done = command("detect", detector_path, pictures, *options)
    assert (done.code, "needs at least 99 calibration images" in done.err) == (1, True)


def test_a_search_never_reads_what_it_left(command, detector_path, pictures):
    options = ("--out", pictures, "--false-alarm-rate", 0.1, "--overwrite")
    assert command("detect", detector_path, pictures, *options).code == 0
    before = sorted(pictures.rglob("*"))
    done = command("detect", detector_path, pictures, *options)
    assert (done.code, "must not replace what it is made of" in done.err) == (1, True)
    assert sorted(pictures.rglob("*")) == before


def test_an_exit_code_tells_a_pipeline_on_request(command, detector_path, pictures, tmp_path):
    options = ("--out", tmp_path, "--false-alarm-rate", "0.1", "--overwrite")
    assert command("detect", detector_path, pictures, *options).code == 0
    assert command("detect", detector_path, pictures, *options, "--fail").code == 3
    normal = pictures / "zero0.png"
    assert "0 of 1 images flagged" in command("detect", detector_path, normal, *options).out
    assert command("detect", detector_path, normal, *options, "--fail").code == 0


def test_other_normal_images_can_calibrate(command, detector_path, pictures, tmp_path):
    options = ("--out", tmp_path, "--false-alarm-rate", "0.1", "--json")
    done = command("detect", detector_path, pictures, "--calibrate", pictures, *options)
    assert done.code == 0
    # Held against themselves, none of nine has a p-value below 2 / 10.
    assert json.loads(done.out)["num_flagged"] == 0
    options = (*options, "--overwrite")
    done = command("detect", detector_path, pictures, "--calibrate", pictures / "sub", *options)
    assert done.code == 1
    assert "received 2, which support 0.333 or more." in done.err


def test_a_rate_that_the_images_do_not_support_is_refused_before_any_is_read(
    command, detector_path, tmp_path
):
    (tmp_path / "empty").mkdir()
    options = ("--out", tmp_path / "out", "--false-alarm-rate", 0.01)
    done = command("detect", detector_path, tmp_path / "empty", *options)
    assert done.code == 1
    assert "A false-alarm rate of 0.01 needs at least 99 calibration images" in done.err
    assert not (tmp_path / "out").exists()


def test_a_model_without_a_detector_is_refused(command, model_path, pictures, tmp_path):
    done = command("detect", model_path, pictures, "--out", tmp_path / "out")
    assert done.code == 1
    assert "must hold an anomaly detector; received a model without one." in done.err
    assert not (tmp_path / "out").exists()


def test_training_with_anomalies_leaves_a_model_for_detect(command, zeros, tmp_path):
    for index, image in enumerate(zeros[0]):
        write_image(tmp_path / "normal" / f"{index:03}.png", image)
    options = ("--anomalies", "--seed", "5", "--out", tmp_path / "out", "--json")
    done = command("train", tmp_path / "normal", *TINY, *options)
    assert done.code == 0
    report = json.loads(done.out)
    learned = report["jobs"]["anomalies"]
    assert learned["score"] == "neighbors"
    assert learned["num_calibration_images"] == 20
    assert learned["smallest_false_alarm_rate"] == pytest.approx(1 / 21)
    # 79 are missing, of which a fifth of more images would be.
    assert ["some 395 more images" in text for text in learned["warnings"]] == [True]
    assert (report["num_images"], report["judged_on"]) == (100, "validation")
    path = tmp_path / "out" / "model.safetensors"
    found = AnomalyDetector.load(path)
    assert found.autoencoder_.data_["num_images"] == 80
    assert ConvAutoencoder.load(path).latent_dim == 3
    same = AnomalyDetector(
        ConvAutoencoder(filters=(4,), latent_dim=3, epochs=1, seed=5), seed=5
    ).fit(zeros[0])
    np.testing.assert_array_equal(found.score_samples(zeros[2]), same.score_samples(zeros[2]))


def test_training_on_images_that_may_hold_anomalies_names_the_suspects(command, zeros, tmp_path):
    for index, image in enumerate(zeros[0]):
        write_image(tmp_path / "mixed" / f"{index:03}.png", image)
    for index, image in enumerate(zeros[2][:5]):
        write_image(tmp_path / "mixed" / "odd" / f"{index}.png", image)
    options = ("--anomalies", "--most-anomalies", "0.05", "--out", tmp_path / "out", "--json")
    report = json.loads(command("train", tmp_path / "mixed", *TINY, *options).out)
    rows = table(tmp_path / "out" / "suspects.csv")
    assert report["files"]["suspects"] == str(tmp_path / "out" / "suspects.csv")
    assert [row["rank"] for row in rows] == [str(rank) for rank in range(1, 7)]
    assert sum(row["image"].startswith("odd/") for row in rows) >= 4


def test_a_share_of_anomalies_needs_a_detector(command, tmp_path):
    done = command("train", "digits", *TINY, "--most-anomalies", "0.1", "--out", tmp_path / "out")
    assert done.code == 1
    assert "--most-anomalies must go with --for anomalies; received 0.1 alone." in done.err
    assert not (tmp_path / "out").exists()


def test_info_tells_of_the_detector(command, detector, detector_path, model_path):
    report = json.loads(command("info", detector_path, "--json").out)
    assert report["jobs"]["anomalies"]["choice"]["reason"] == detector.choice_.reason
    assert report["jobs"]["anomalies"]["settings"]["false_alarm_rate"] == 0.1
    (line,) = (
        line
        for line in command("info", detector_path).out.splitlines()
        if line.startswith("job anomalies ")
    )
    assert json.loads(line.removeprefix("job anomalies ")) == report["jobs"]["anomalies"]
    assert json.loads(command("info", model_path, "--json").out)["jobs"] == {}


def test_a_training_without_anomalies_has_no_detector(command, tmp_path):
    assert command("train", "digits", *TINY, "--out", tmp_path / "out").code == 0
    assert read_model(tmp_path / "out" / "model.safetensors").jobs == {}
