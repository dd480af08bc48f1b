import csv
import io
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from skimage.metrics import structural_similarity

import convae.report.runs
from convae import ConvAutoencoder
from convae.errors import OutputError, ParameterError
from convae.images import to_float, to_uint8
from convae.report.runs import (
    CHECKPOINT,
    MODEL,
    check_folder,
    check_latents_path,
    history_csv,
    prepare_folder,
    write_latents,
    write_reconstructions,
    write_run,
)
from convae.report.tables import csv_table, unguarded

NAMES = [f"{index}.png" for index in range(64)]


def rows_of(path):
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
        return list(csv.DictReader(stream))


def pixels_of(path):
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture)


def test_a_new_folder_and_an_empty_one_will_do(tmp_path):
    check_folder(tmp_path / "new", overwrite=False, resume=False)
    check_folder(tmp_path, overwrite=False, resume=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "found"), [(MODEL, "A finished model"), (CHECKPOINT, "An unfinished training")]
)
def test_what_took_hours_is_not_replaced_unasked(tmp_path, name, found):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(OutputError) as caught:
        check_folder(tmp_path, overwrite=False, resume=False)
    assert str(caught.value) == (
        f"{found} must not be replaced without --overwrite; {tmp_path / name} exists. Choose "
        f"another --out, add --overwrite, or add --resume."
    )
    check_folder(tmp_path, overwrite=True, resume=False)


def test_resuming_needs_a_checkpoint(tmp_path):
    (tmp_path / MODEL).write_bytes(b"")
    with pytest.raises(ParameterError) as caught:
        check_folder(tmp_path, overwrite=True, resume=True)
    assert str(caught.value) == (
        f"--resume needs the checkpoint of an interrupted training; there is none in {tmp_path}. "
        f"Name the folder of that training with --out, or train without --resume."
    )
    (tmp_path / CHECKPOINT).write_bytes(b"")
    check_folder(tmp_path, overwrite=False, resume=True)


def test_a_folder_that_cannot_be_is_refused(tmp_path):
    with pytest.raises(OutputError, match=r"looking at .* gave 'File name too long'"):
        check_folder(tmp_path / ("n" * 300), overwrite=False, resume=False)


def test_preparing_makes_the_folder_and_leaves_nothing_in_it(tmp_path):
    assert prepare_folder(str(tmp_path / "one" / "two")) == tmp_path / "one" / "two"
    assert list((tmp_path / "one" / "two").iterdir()) == []


def test_a_file_in_the_way_is_noticed_before_the_work(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="gave 'a file is in the way of its folder'"):
        prepare_folder(tmp_path / "file")


def test_a_run_leaves_its_four_files(tmp_path, fitted, digits):
    files = write_run(tmp_path, fitted, digits, fitted.save)
    assert files == {
        "model": str(tmp_path / "model.safetensors"),
        "history": str(tmp_path / "history.csv"),
        "loss_curve": str(tmp_path / "loss_curve.png"),
        "output_image": str(tmp_path / "output_image.png"),
    }
    assert sorted(files.values()) == sorted(map(str, tmp_path.iterdir()))
    loaded = ConvAutoencoder.load(files["model"])
    np.testing.assert_array_equal(loaded.reconstruct(digits), fitted.reconstruct(digits))
    assert pixels_of(Path(files["loss_curve"])).ndim == 3
    picture = pixels_of(Path(files["output_image"]))
    assert (picture.shape, picture.dtype) == ((280, 56), np.uint8)
    np.testing.assert_array_equal(picture[:, :28], digits[:10, ..., 0].reshape(280, 28))
    rebuilt = to_uint8(fitted.reconstruct(digits[:10]))
    np.testing.assert_array_equal(picture[:, 28:], rebuilt.reshape(280, 28))


def test_the_history_has_a_row_for_each_epoch(tmp_path, fitted, digits):
    rows = rows_of(Path(write_run(tmp_path, fitted, digits, fitted.save)["history"]))
    assert list(rows[0]) == ["epoch", "loss", "val_loss", "learning_rate", "elapsed_s"]
    assert [int(row["epoch"]) for row in rows] == list(range(1, fitted.n_iter_ + 1))
    assert [float(row["loss"]) for row in rows] == [r["loss"] for r in fitted.history_]
    assert {row["val_loss"] for row in rows} == {""}


def test_reconstructions_are_judged_one_by_one_and_together(tmp_path, fitted, digits):
    result = write_reconstructions(tmp_path, fitted, digits, NAMES, 12)
    figures, files = result.figures, result.files
    assert sorted(files.values()) == sorted(map(str, tmp_path.iterdir()))
    originals, rebuilt = to_float(digits), fitted.reconstruct(digits)
    errors = np.square(originals.astype(float) - rebuilt).mean(axis=(1, 2, 3))
    rows = rows_of(Path(files["errors"]))
    assert [row["image"] for row in rows] == NAMES
    np.testing.assert_allclose([float(row["mse"]) for row in rows], errors, rtol=1e-5)
    np.testing.assert_allclose(
        [float(row["psnr_db"]) for row in rows], -10 * np.log10(errors), atol=1e-3
    )
    likeness = [
        structural_similarity(
            a.astype(float), b.astype(float), win_size=7, data_range=1, channel_axis=-1
        )
        for a, b in zip(originals, rebuilt, strict=True)
    ]
    np.testing.assert_allclose([float(row["ssim"]) for row in rows], likeness, atol=1e-5)
    assert figures == {
        "num_images": 64,
        "mse": pytest.approx(errors.mean()),
        "psnr_db": pytest.approx(-10 * math.log10(errors.mean())),
        "ssim": pytest.approx(np.mean(likeness)),
    }
    assert figures["mse"] == pytest.approx(-fitted.score(digits))
    assert pixels_of(Path(files["output_image"])).shape == (280, 56)
    assert pixels_of(Path(files["gallery"])).shape[2] == 3


def test_judging_in_parts_changes_nothing(tmp_path, fitted, digits, monkeypatch):
    whole = write_reconstructions(tmp_path / "whole", fitted, digits, NAMES, 4)
    monkeypatch.setattr("convae.images.memory.CHUNK_VALUES", 32 * digits[0].size)
    parts = write_reconstructions(tmp_path / "parts", fitted, digits, NAMES, 4)
    assert parts.figures == pytest.approx(whole.figures, rel=1e-5)
    rows = [len(rows_of(Path(result.files["errors"]))) for result in (whole, parts)]
    assert rows == [64, 64]


def test_the_gallery_goes_from_the_best_to_the_worst(tmp_path, fitted, digits, monkeypatch):
    seen = {}

    def note(originals, reconstructions, errors, names):
        seen.update(errors=errors, names=names)
        return np.zeros((8, 8, 3), np.uint8)

    monkeypatch.setattr(convae.report.runs, "gallery", note)
    errors = -fitted.score_samples(digits)
    for count, shown in ((1, 1), (5, 5), (64, 64), (1000, 64)):
        write_reconstructions(tmp_path, fitted, digits, NAMES, count)
        assert list(seen["errors"]) == sorted(seen["errors"])
        assert len(set(seen["names"])) == shown
        assert seen["names"][0] == NAMES[np.argmin(errors)]
    assert seen["names"][-1] == NAMES[np.argmax(errors)]


def test_one_image_will_do(tmp_path, fitted, digits):
    files = write_reconstructions(tmp_path, fitted, digits[:1], ["only"], 40).files
    assert pixels_of(Path(files["output_image"])).shape == (28, 56)
    assert [row["image"] for row in rows_of(Path(files["errors"]))] == ["only"]


def test_a_folder_in_the_way_of_a_result_is_refused_and_stays(tmp_path, fitted, digits):
    (tmp_path / "gallery.png").mkdir()
    with pytest.raises(OutputError, match="gave 'a folder is in the way'"):
        write_reconstructions(tmp_path, fitted, digits[:1], ["only"], 40)
    assert [path.name for path in tmp_path.iterdir()] == ["gallery.png"]
    assert (tmp_path / "gallery.png").is_dir()


TEXT = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20
)
# A file's name is any bytes but a zero.
NAME = TEXT | st.lists(st.integers(1, 255), min_size=1).map(bytes).map(os.fsdecode)


@example([("carriage\rreturn", 0.5), ("plain", 1.0), ('quoted"\r,', 2.0)])
@given(
    st.lists(
        st.tuples(NAME, st.floats(width=32, allow_nan=False, allow_infinity=False)), min_size=1
    )
)
def test_latents_and_names_come_back_from_csv(tmp_path_factory, rows):
    names, values = [row[0] for row in rows], [row[1] for row in rows]
    latents = np.array([values, values[::-1]], np.float32).T
    path = tmp_path_factory.mktemp("latents") / "latents.csv"
    write_latents(path, latents, names)
    read = rows_of(path)
    assert list(read[0]) == ["image", "latent0", "latent1"]
    assert [unguarded(row["image"]) for row in read] == names
    back = [[np.float32(row["latent0"]), np.float32(row["latent1"])] for row in read]
    np.testing.assert_array_equal(np.array(back, np.float32), latents)


def test_latents_come_back_from_npy(tmp_path, random_images):
    latents = random_images(70, 5).astype(np.float32) / np.float32(7)
    for name in ("latents.npy", "LATENTS.NPY"):
        write_latents(tmp_path / name, latents, ["unused"] * 70)
        back = np.load(tmp_path / name, allow_pickle=False)
        assert back.dtype == np.float32
        np.testing.assert_array_equal(back, latents)


@pytest.mark.parametrize(
    "name", ["=1+1", "+a.png", "-a.png", "@SUM(A1)", "\tx", "\rx", "'=1", "''-x", "=cmd|' /C'!A0"]
)
def test_no_name_is_a_formula_in_a_spreadsheet(name):
    table = csv_table(("image", "score"), [(name, "-0.25")])
    (row,) = list(csv.reader(io.StringIO(table.decode(), newline="")))[1:]
    assert row == ["'" + name, "-0.25"]
    assert unguarded(row[0]) == name
    assert unguarded("'plain") == "'plain"
    assert unguarded("it's=1") == "it's=1"


def test_a_name_that_is_no_text_comes_back_as_its_bytes(tmp_path):
    write_latents(tmp_path / "latents.csv", np.zeros((1, 1), np.float32), ["a\udcff,\nb"])
    assert b'"a\xff,\nb",0\n' in (tmp_path / "latents.csv").read_bytes()


@pytest.mark.parametrize("name", ["latents.txt", "latents", "npy", "latents.npy.gz"])
def test_latents_of_another_ending_are_refused(tmp_path, name):
    text = (
        f"Latents are written to a path that ends in .npy or .csv; received "
        f"{str(tmp_path / name)!r}. Choose one of them."
    )
    for refuse in (check_latents_path, lambda path: write_latents(path, np.zeros((1, 1)), ["a"])):
        with pytest.raises(ParameterError) as caught:
            refuse(tmp_path / name)
        assert str(caught.value) == text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["latents.npy", "latents.csv"])
def test_latents_on_a_full_disk_are_an_error_and_leave_the_old_ones(tmp_path, full_disk, name):
    path = tmp_path / name
    path.write_bytes(b"old")
    latents = np.ones((300, 5), np.float32)
    with full_disk(1000), pytest.raises(OutputError, match="gave 'File too large'"):
        write_latents(path, latents, ["name"] * 300)
    assert [found.read_bytes() for found in tmp_path.iterdir()] == [b"old"]


def test_a_history_is_written_as_it_stands():
    history = [{"epoch": 1, "loss": 0.1, "val_loss": None}, {"epoch": 2, "loss": 0.05}]
    history[1]["val_loss"] = 1e-12
    rows = list(csv.reader(io.StringIO(history_csv(history).decode())))
    assert rows == [["epoch", "loss", "val_loss"], ["1", "0.1", ""], ["2", "0.05", "1e-12"]]
