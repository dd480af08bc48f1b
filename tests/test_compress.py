"""The verbs `compress` and `decompress`, and the option --codec of `train`."""

import csv
import io
import json
import lzma
import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from coders import learn_in_steps, random_model, smooth_images
from imagecodecs import avif_decode, jpegxl_decode
from PIL import Image

from convae.baselines.formats import FormatSizes, break_even, newer_files, xz_filters
from convae.coding.archive import ArchiveWriter
from convae.datasets import exact_batches, load_dataset
from convae.errors import OutputError
from convae.images import read_exact, write_image
from convae.storage.modelfile import read_model


@pytest.fixture
def pictures(digits, tmp_path):
    """Pictures of several sizes and kinds, and a file that is none."""
    folder = tmp_path / "pictures"
    for index, image in enumerate(digits[:5]):
        write_image(folder / f"digit{index}.png", image)
    write_image(folder / "sub" / "color.png", smooth_images(1, 30, 17, 3)[0])
    write_image(folder / "deep.png", smooth_images(1, 12, 12, 1, np.uint16)[0])
    Image.fromarray(digits[6, ..., 0]).save(folder / "digit6.bmp")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def test_a_folder_comes_back_with_names_and_sizes(command, codec_path, pictures, tmp_path):
    out, again = tmp_path / "x.cae", tmp_path / "again"
    done = command("compress", codec_path, pictures, out, "--json")
    assert done.code == 0
    assert "1 could not be used and were skipped:\n  broken.png: A picture must be" in done.err
    report = json.loads(done.out)
    assert report["num_images"] == 8
    assert report["num_bytes"] == out.stat().st_size
    assert [name for name, _ in report["skipped"]] == ["broken.png"]
    done = command("decompress", out, again, "--model", codec_path, "--json")
    report = json.loads(done.out)
    num_bytes = sum(read_exact(path).nbytes for path in again.rglob("*.png"))
    assert report == {
        "num_images": 8, "num_pixel_bytes": num_bytes, "files": {"images": str(again)}
    }  # fmt: skip
    names = sorted(str(path.relative_to(again)) for path in again.rglob("*.*"))
    assert names == [
        "deep.png", *(f"digit{index}.png" for index in range(5)), "digit6.bmp.png",
        "sub/color.png",
    ]  # fmt: skip
    for name in names:
        source = pictures / name.removesuffix(".png" if name == "digit6.bmp.png" else "")
        found, expected = read_exact(again / name), read_exact(source)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    done = command("compress", codec_path, pictures, tmp_path / "y.cae", "--strict")
    assert done.code == 1
    assert "broken.png" in done.err
    assert not (tmp_path / "y.cae").exists()


def test_an_archive_with_its_model_needs_none(command, codec_path, digits, tmp_path):
    np.save(tmp_path / "digits.npy", digits)
    out, array = tmp_path / "x.cae", tmp_path / "y.npy"
    done = command("compress", codec_path, tmp_path / "digits.npy", out, "--with-model")
    assert done.code == 0
    assert "64 images in" in done.out
    assert command("decompress", out, array).code == 0
    np.testing.assert_array_equal(np.load(array), digits[..., 0])
    done = command("decompress", out, tmp_path / "pictures")
    assert done.code == 0
    np.testing.assert_array_equal(read_exact(tmp_path / "pictures" / "07.png"), digits[7])


def test_pictures_are_added_to_an_archive(command, codec_path, digits, tmp_path):
    out = tmp_path / "x.cae"
    for number in range(2):
        np.save(tmp_path / "digits.npy", digits[20 * number :][:20])
        more = ("--append",) if number else ()
        done = command("compress", codec_path, tmp_path / "digits.npy", out, *more)
        assert done.code == 0
    assert done.out.startswith("40 images in ")
    command("decompress", out, tmp_path / "y.npy", "--model", codec_path)
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), digits[:40, ..., 0])
    done = command("compress", codec_path, tmp_path / "digits.npy", out, "--append", "--compare")
    assert (done.code, "--compare must not be combined with --append" in done.err) == (1, True)


def test_nothing_is_resized_without_tiny_and_what_is_left_out_is_said(
    command, codec_path, pictures, tmp_path
):
    color = np.ascontiguousarray(smooth_images(1, 9, 3, 3, np.uint16)[0])
    write_image(pictures / "train" / "deep.png", color)
    write_image(pictures / "test" / "dot.png", smooth_images(1, 1, 1, 3)[0])
    Image.fromarray(smooth_images(1, 50, 60, 3)[0]).save(pictures / "a.jfif", "JPEG")
    Image.new("CMYK", (9, 9)).save(pictures / "c.tif")
    frames = [Image.new("RGB", (9, 9), color) for color in ("red", "blue")]
    frames[0].save(pictures / "d.gif", save_all=True, append_images=frames[1:])
    (pictures / "notes.txt").write_text("notes")
    cells = [(pictures / "sub" / "color.png").read_bytes()]
    pyarrow.parquet.write_table(pyarrow.table({"image": cells}), pictures / "p.parquet")
    out, again = tmp_path / "x.cae", tmp_path / "again"
    done = command("compress", codec_path, pictures, out, "--json")
    report = json.loads(done.out)
    assert [name for name, _ in report["skipped"]] == ["broken.png", "c.tif"]
    assert "must be gray or RGB of 8 or 16 bits" in report["skipped"][1][1]
    assert report["notes"] == [
        "1 file with other endings than those of pictures: left out",
        "1 picture has more than one frame or page; only the first is read",
    ]
    assert all(note in done.err for note in report["notes"])
    assert (report["num_images"], report["mse"]) == (13, 0)
    assert command("decompress", out, again, "--model", codec_path).code == 0
    np.testing.assert_array_equal(read_exact(again / "train" / "deep.png"), color)
    for name in ("test/dot.png", "sub/color.png", "d.gif", "a.jfif"):
        kept = again / (name if name.endswith("png") else f"{name}.png")
        np.testing.assert_array_equal(read_exact(kept), read_exact(pictures / name))
    found = read_exact(again / "p.parquet row 0.png")
    np.testing.assert_array_equal(found, read_exact(pictures / "sub" / "color.png"))


def test_pictures_skipped_for_one_reason_are_shown_together_and_five_reasons_at_most(
    command, codec_path, digits, tmp_path
):
    folder = tmp_path / "pictures"
    write_image(folder / "whole.png", digits[0])
    for number in range(9):
        (folder / f"empty{number}.png").touch()
    for number in range(5):
        (folder / f"u{number}.png").symlink_to(f"u{number}.png" if number else "nowhere")
        (folder / f"v{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes([number]) * 30)
        Image.new(["CMYK", "F", "LAB"][number % 3], (9, 9)).save(folder / f"w{number}.tif")
    done = command("compress", codec_path, folder, tmp_path / "x.cae", "--json")
    skipped = json.loads(done.out)["skipped"]
    assert len(skipped) == 24
    lines = done.err.splitlines()
    assert lines[0] == "24 could not be used and were skipped:"
    assert lines[1].startswith("  empty0.png: A picture must hold data")
    assert lines[1].endswith("(and 8 more for this reason)")
    shown = sum(1 + ("(and" in line and int(line.split("(and ")[1][0])) for line in lines[1:6])
    assert lines[6:] == [f"  and {24 - shown} more"]


def test_a_picture_with_a_very_long_path_is_kept(command, codec_path, digits, tmp_path):
    name = "/".join(["d" * 200] * 6 + ["a.png"])
    write_image(tmp_path / "in" / name, digits[0])
    out, again = tmp_path / "x.cae", tmp_path / "again"
    assert command("compress", codec_path, tmp_path / "in", out).code == 0
    assert command("decompress", out, again, "--model", codec_path).code == 0
    np.testing.assert_array_equal(read_exact(again / name), digits[0])


def test_an_array_of_16_bits_comes_back_and_one_of_floats_is_refused(command, codec_path, tmp_path):
    array = smooth_images(3, 10, 12, 1, np.uint16)[..., 0]
    np.save(tmp_path / "a.npy", array)
    out, again = tmp_path / "x.cae", tmp_path / "again.npy"
    done = command("compress", codec_path, tmp_path / "a.npy", out)
    assert (done.code, done.out.startswith("3 images in ")) == (0, True)
    assert command("decompress", out, again, "--model", codec_path).code == 0
    np.testing.assert_array_equal(np.load(again), array)
    np.save(tmp_path / "b.npy", array / 65535)
    done = command("compress", codec_path, tmp_path / "b.npy", tmp_path / "y.cae")
    assert done.code == 1
    assert "must be uint8 or uint16" in done.err
    assert "numpy.rint(array * 65535).astype('uint16')" in done.err
    assert not (tmp_path / "y.cae").exists()


def test_a_tiny_archive_holds_pictures_of_the_models_size(command, codec_path, pictures, tmp_path):
    out = tmp_path / "x.cae"
    done = command("compress", codec_path, pictures, out, "--tiny", "--json")
    assert done.code == 0
    report = json.loads(done.out)
    assert report["num_images"] == 8
    assert report["mse"] > 0
    assert command("decompress", out, tmp_path / "again", "--model", codec_path).code == 0
    found = read_exact(tmp_path / "again" / "sub" / "color.png")
    assert found.shape == (28, 28, 1)
    assert "x.cae exists" in command("compress", codec_path, pictures, out, "--tiny").err
    done = command("compress", codec_path, pictures, out, "--tiny", "--overwrite")
    assert "PSNR" in done.out


def test_the_report_says_what_others_take_and_when_the_model_pays(
    command, codec_path, digits, tmp_path
):
    np.save(tmp_path / "digits.npy", digits)
    done = command("compress", codec_path, tmp_path / "digits.npy", tmp_path / "x.cae", "--compare")
    assert done.code == 0
    assert "bytes  convae, without the model" in done.out
    assert "bytes  PNG, one file an image" in done.out
    assert "bytes  xz, one stream" in done.out
    assert "The model pays for itself from about" in done.out
    assert "for these images alone" in done.out
    noise = np.random.default_rng(0).integers(0, 256, (20, 28, 28)).astype(np.uint8)
    np.save(tmp_path / "noise.npy", noise)
    done = command(
        "compress", codec_path, tmp_path / "noise.npy", tmp_path / "y.cae", "--compare", "--json"
    )
    peers = json.loads(done.out)["peers"]
    assert peers["zlib, one stream"] > noise.size
    assert list(peers.values()) == sorted(peers.values())


def test_peers_are_counted_and_those_that_cannot_keep_the_images_left_out():
    images = smooth_images(3, 10, 12, 1)
    for data in (b"", bytes(9), images.tobytes(), np.random.default_rng(0).bytes(9000)):
        small = lzma.compress(data, filters=xz_filters(len(data)))
        assert lzma.decompress(small) == data
        assert len(small) == len(lzma.compress(data, preset=9))
    sizes = FormatSizes()
    sizes.add(images[:2])
    sizes.add(images[2:])
    counted = sizes.finish()
    assert len(counted) == 10
    assert counted["zlib, one file an image"] > counted["zlib, one stream"]
    assert counted["JPEG XL, one file an image"] < counted["AVIF, one file an image"]
    sizes = FormatSizes()
    sizes.add(images)
    sizes.add(smooth_images(3, 10, 12, 1, np.uint16))
    counted = sizes.finish()
    for name, keeps_16_bits in (("PNG", True), ("JPEG XL", True), ("WebP", False), ("AVIF", False)):
        assert (f"{name}, one file an image" in counted) == keeps_16_bits


def test_formats_that_cannot_hold_so_long_a_picture_are_left_out():
    line = np.zeros((1, 1, 70_000, 1), np.uint8)
    for length, missing in ((16_383, set()), (16_384, {"WebP"}), (70_000, {"WebP", "AVIF"})):
        sizes = FormatSizes()
        sizes.add(line[:, :, :length])
        counted = {name.partition(",")[0] for name in sizes.finish()}
        assert {"PNG", "WebP", "JPEG XL", "AVIF"} - counted == missing


def test_large_pictures_are_not_written_in_the_slowest_way(monkeypatch):
    image = smooth_images(1, 60, 70, 3)[0]
    slow = newer_files(image)
    monkeypatch.setattr("convae.baselines.formats.MOST_PIXELS_SLOWLY", 60 * 70 - 1)
    quick = newer_files(image)
    for name, decode in (("JPEG XL", jpegxl_decode), ("AVIF", avif_decode)):
        np.testing.assert_array_equal(decode(quick[name]), image)
        assert len(slow[name]) < len(quick[name])


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_newer_formats_are_counted_as_they_keep_every_bit(channels, dtype):
    pixels = np.squeeze(smooth_images(1, 10, 12, channels, dtype))
    files = newer_files(pixels)
    assert list(files) == ["JPEG XL", "AVIF"][: 1 + (dtype == np.uint8)]
    np.testing.assert_array_equal(jpegxl_decode(files["JPEG XL"]), pixels)
    if "AVIF" in files:
        gray = np.asarray(Image.open(io.BytesIO(files["AVIF"])).convert("L"))
        found = gray if channels == 1 else avif_decode(files["AVIF"])
        np.testing.assert_array_equal(found, pixels)


def test_the_report_says_what_it_cannot_count(command, codec_path, digits, tmp_path, monkeypatch):
    np.save(tmp_path / "digits.npy", digits[:40])
    arguments = "compress", codec_path, tmp_path / "digits.npy", tmp_path / "x.cae", "--compare"
    assert "Not counted" not in command(*arguments).out
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    out = command(*arguments, "--overwrite").out
    assert 'Not counted: JPEG XL and AVIF; pip install "convae[formats]"' in out
    assert "AVIF, one" not in out


def test_the_model_breaks_even_after_so_many_images():
    assert break_even(1000, 90, 100) == 100
    assert break_even(1000, 90, 90.5) == 2000
    assert break_even(1000, 90, 90) is None


def archive_of(path, *names):
    with path.open("wb") as stream:
        writer = ArchiveWriter(stream, random_model(), "m", with_model=True)
        writer.add(smooth_images(len(names), 9, 9, 1), list(names))
        writer.close()
    return smooth_images(len(names), 9, 9, 1)


@pytest.mark.parametrize("name", ["../out.png", "/etc/out.png", "a/../../b.png", "..", "/"])
def test_names_that_lead_elsewhere_stay_inside_the_folder(command, tmp_path, name):
    archive_of(tmp_path / "x.cae", name)
    done = command("decompress", tmp_path / "x.cae", tmp_path / "deep" / "out")
    assert done.code == 0
    (picture,) = tmp_path.rglob("*.png")
    assert picture.is_relative_to(tmp_path / "deep" / "out")


def test_names_that_meet_all_come_back_and_a_table_tells_of_them(command, tmp_path):
    names = ["x.jpg", "x.jpg.png", "12:30.png", "new\nline.png", "v1./b.png", "a.jpg",
             "a.jpg.png/q.png", "n" * 300]  # fmt: skip
    images = archive_of(tmp_path / "x.cae", *names)
    out = tmp_path / "out"
    done = command("decompress", tmp_path / "x.cae", out)
    table_path = tmp_path / "out-names.csv"
    assert done.code == 0
    assert "3 could not be called after their pictures:" in done.out
    assert "out-names.csv tells the names" in " ".join(done.out.split())
    assert sum(path.is_file() for path in out.rglob("*.png")) == len(names)
    assert {path.suffix for path in out.rglob("*") if path.is_file()} == {".png"}
    with table_path.open(newline="", encoding="utf-8") as table:
        told = {row["name"]: row["file"] for row in csv.DictReader(table)}
    assert sorted(told) == ["a.jpg", "n" * 300, "x.jpg"]
    for image, name in zip(images, names, strict=True):
        np.testing.assert_array_equal(read_exact(out / told.get(name, name)), image)


def test_an_array_that_the_disk_has_no_room_for_is_refused(command, tmp_path, monkeypatch):
    archive_of(tmp_path / "x.cae", "a.png", "b.png")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2 * 9 * 9 - 1))
    done = command("decompress", tmp_path / "x.cae", tmp_path / "new" / "x.npy")
    assert (done.code, "Images in a file need free disk space" in done.err) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["x.cae"]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2 * 9 * 9))
    assert command("decompress", tmp_path / "x.cae", tmp_path / "new" / "x.npy").code == 0


def test_files_that_exist_are_replaced_on_request_alone(command, codec_path, pictures, tmp_path):
    archive_of(tmp_path / "x.cae", "a.png", "b.png")
    out = tmp_path / "out"
    out.mkdir()
    (out / "b.png").write_bytes(b"mine")
    done = command("decompress", tmp_path / "x.cae", out)
    assert (done.code, "b.png exists" in done.err) == (1, True)
    assert [path.name for path in out.iterdir()] == ["b.png"]
    assert command("decompress", tmp_path / "x.cae", out, "--overwrite").code == 0
    assert len(list(out.iterdir())) == 2


def test_no_verb_writes_over_what_it_reads(command, codec_path, pictures, tmp_path):
    archive, array = tmp_path / "x.cae", tmp_path / "a.npy"
    archive_of(archive, "a.png")
    (tmp_path / "b.npy").write_bytes(archive.read_bytes())
    np.save(array, np.zeros((3, 28, 28), np.uint8))
    (tmp_path / "link").symlink_to(codec_path)
    (tmp_path / "linked").symlink_to(pictures)
    before = {path: path.read_bytes() for path in (codec_path, archive, array, tmp_path / "b.npy")}
    for arguments in (
        ("compress", codec_path, pictures, codec_path),
        ("compress", codec_path, pictures, tmp_path / "link"),
        ("compress", codec_path, array, array),
        ("embed", codec_path, array, array),
        ("decompress", tmp_path / "b.npy", tmp_path / "b.npy"),
        ("decompress", archive, archive),
        ("compress", codec_path, pictures, pictures / "digit0.png"),
        ("compress", codec_path, tmp_path / "linked", pictures / "digit0.png"),
    ):
        done = command(*arguments, "--overwrite")
        assert done.code == 1
        assert "must not replace what it is made of" in done.err
    assert before == {path: path.read_bytes() for path in before}


def test_only_one_process_at_a_time_adds_to_an_archive(codec, digits, tmp_path):
    path = tmp_path / "x.cae"
    codec.compress(digits[:3], path)
    started, go_on = threading.Event(), threading.Event()

    def batches():
        started.set()
        go_on.wait(60)
        yield digits[3:5], ()

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(codec.compress, batches(), path, append=True)
        started.wait(60)
        with pytest.raises(OutputError, match="Only one run at a time may write here"):
            codec.compress(digits[5:9], path, append=True)
        go_on.set()
        assert first.result().num_images == 5
    assert codec.compress(digits[5:9], path, append=True).num_images == 9
    assert list(tmp_path.iterdir()) == [path]


def test_what_fits_no_picture_or_no_array_is_refused(command, tmp_path):
    for images, target in (
        ([smooth_images(1, 9, 9, 2)], "out"),
        ([smooth_images(1, 9, 9, 1), smooth_images(1, 9, 8, 1)], "out.npy"),
        ([], "out.npy"),
    ):
        path = tmp_path / "x.cae"
        with path.open("wb") as stream:
            writer = ArchiveWriter(stream, random_model(), "m", with_model=True)
            for batch in images:
                writer.add(batch)
            writer.close()
        done = command("decompress", path, tmp_path / target)
        assert done.code == 1
        assert "must have" in done.err
        assert not (tmp_path / "out.npy").exists()


def test_misuse_of_the_verbs_is_refused(command, codec_path, model_path, pictures, tmp_path):
    out = tmp_path / "x.cae"
    for arguments, text in (
        (("compress", model_path, pictures, out), "convae train IMAGES --for codec"),
        (("compress", codec_path, tmp_path / "none.png", out), "folder or file that exists"),
        (("compress", codec_path, pictures, out, "--max-error", "200"), "max_error must be from 0"),
        (("compress", codec_path, pictures, out, "--lossless", "--max-error", "1"), "--lossless"),
        (("decompress", pictures / "digit0.png", out), "must be a whole archive of images"),
        (("decompress", out, tmp_path / "new.png"), "OUTPUT must be a folder, or an array"),
        (
            ("compress", codec_path, pictures, out, "--append", "--overwrite"),
            "--append must not be",
        ),
    ):
        done = command(*arguments)
        assert done.code == 1
        assert any(part in done.err for part in text.split("|"))
        assert not out.exists()
    assert command("compress", codec_path, pictures, out).code == 0
    done = command("decompress", out, tmp_path / "again")
    assert done.code == 1
    assert "must be read with the model that coded it, model.safetensors (" in done.err


def test_training_with_a_codec_keeps_it_in_the_file(command, pictures, monkeypatch, tmp_path):
    learn_in_steps(monkeypatch, 3)
    done = command(
        "train", pictures, "--for", "codec", "--anomalies", "--size", "12", "--channels", "1",
        "--filters", "4", "--latent-dim", "3", "--epochs", "1", "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.code == 0
    contents = read_model(tmp_path / "out" / "model.safetensors")
    assert sorted(contents.jobs) == ["anomalies", "codec"]
    # Of the pictures six of nine are gray with 8 bits, and have the most bytes.
    settings = contents.jobs["codec"].settings["contexts"]
    assert (settings["bits"], settings["planes"]) == (8, 1)
    assert "for `convae compress`: images of 1 channel with 8 bits\n  channel 0 by " in done.out


def test_pictures_of_one_size_come_together_and_none_at_all_is_refused(pictures, monkeypatch):
    skipped = []
    batches = list(exact_batches(pictures, skipped))
    assert [(batch.shape, len(names)) for batch, names in batches] == [
        ((1, 12, 12, 1), 1), ((6, 28, 28, 1), 6), ((1, 30, 17, 3), 1),
    ]  # fmt: skip
    assert batches[0][0].dtype == np.uint16
    assert [name for name, _ in skipped] == ["broken.png"]
    monkeypatch.setattr("convae.images.exact.BATCH_BYTES", 1)
    assert [len(names) for _, names in exact_batches(pictures, [])] == [1] * 8


def test_each_job_can_go_through_the_original_pictures_anew(pictures):
    originals = load_dataset(pictures, size=(12, 12), channels=1).originals()
    passes = [[(batch.shape, names) for batch, names in originals] for _ in range(2)]
    assert passes[0] == passes[1]
    assert sum(len(names) for _, names in passes[0]) == 8
    assert load_dataset("digits").originals() is None


def test_the_codec_also_learns_from_pictures_that_it_cannot_pack_exactly(tmp_path):
    Image.new("CMYK", (9, 10), (0, 255, 255, 0)).save(tmp_path / "a.tif")
    ((images, names),) = load_dataset(tmp_path).originals()
    assert (images.shape, names) == ((1, 10, 9, 3), ["a.tif"])
    np.testing.assert_array_equal(images[0, 0, 0], load_dataset(tmp_path).train[0, 0, 0])
