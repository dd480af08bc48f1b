import inspect
import json
import os
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

import convae.cli.main
from convae import ConvAutoencoder
from convae.architecture.plan import Architecture
from convae.architecture.recipe import PRESETS
from convae.autoencoder.applied import AppliedAutoencoder
from convae.baselines.pca import pca_mse
from convae.images import memory, store_images
from convae.storage.modelfile import ModelContents, write_model
from convae.storage.safefile import read_tensors

VERBS = sorted(convae.cli.main.commands.commands)
SMALL = ("--filters", "4", "--latent-dim", "3", "--epochs", "1")
CONVAE = Path(sys.executable).with_name("convae")


def run_process(*arguments, **options):
    options = {"capture_output": True, "text": True, "timeout": 120, **options}
    return subprocess.run([CONVAE, *map(str, arguments)], check=False, **options)


def one_error(done):
    """The message of a command that failed with one line and nothing on standard output."""
    assert (done.code, done.out) == (1, "")
    last = done.err.splitlines()[-1]
    assert last.startswith("Error: ")
    return last.removeprefix("Error: ")


def one_object(done):
    assert done.code == 0
    assert done.out.count("\n") == 1
    return json.loads(done.out, parse_constant=pytest.fail)


def save_picture(path, *shape, seed=0, mode=None):
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    picture = Image.fromarray(pixels)
    path.parent.mkdir(exist_ok=True)
    (picture.convert(mode) if mode else picture).save(path)
    return path


def tree(folder):
    """Every path below a folder, with its bytes: equal trees mean nothing was touched."""
    return {
        path.relative_to(folder): None if path.is_dir() else path.read_bytes()
        for path in folder.rglob("*")
    }


@pytest.fixture
def pictures(tmp_path):
    """Three good pictures of 12 x 10."""
    for index in range(3):
        save_picture(tmp_path / "pictures" / f"{index}.png", 12, 10, 3, seed=index)
    return tmp_path / "pictures"


@pytest.fixture
def away_from_mnist(monkeypatch, tmp_path):
    """MNIST is nowhere on this machine, and there is no network."""
    monkeypatch.delenv("CONVAE_DATA", raising=False)
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


# Help and usage


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example_and_json(command, verb):
    done = command(verb, "--help")
    assert (done.code, done.err) == (0, "")
    example = done.out.partition("Example:")[2].splitlines()
    assert any(line.strip().startswith(f"convae {verb}") for line in example)
    assert "--json" in done.out


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_of_every_verb_is_explained(verb):
    for parameter in convae.cli.main.commands.commands[verb].params:
        assert isinstance(parameter, click.Argument) or parameter.help


@pytest.mark.parametrize("verb", VERBS)
def test_every_example_is_made_of_options_that_exist(verb):
    found = convae.cli.main.commands.commands[verb]
    for line in found.epilog.splitlines():
        if line.startswith("  convae"):
            found.make_parser(click.Context(found)).parse_args(line.split()[2:])


def test_every_parameter_of_the_estimator_is_an_option_of_train():
    options = {parameter.name for parameter in convae.cli.main.commands.commands["train"].params}
    assert set(inspect.signature(ConvAutoencoder).parameters) <= options


def test_without_a_verb_there_is_help_and_code_2():
    done = run_process()
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: convae" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("paint",), "No such command 'paint'"),
        (("train",), "Missing argument 'DATA'"),
        (("train", "digits", "--fit", "squeeze"), "'squeeze' is not one of"),
        (("train", "digits", "--channels", "2"), "'2' is not one of"),
        (("train", "digits", "--epochs", "many"), "'many' is not a valid integer"),
        (("train", "digits", "--preset", "worst"), "'worst' is not"),
        (("train", "digits", "--loss", "l3"), "'l3' is not one of"),
        (("reconstruct", "model", "digits", "--count", "0"), "0 is not in the range"),
        (("info", "--color"), "No such option '--color'"),
    ],
)
def test_wrong_usage_is_code_2(command, arguments, text):
    done = command(*arguments)
    assert (done.code, done.out) == (2, "")
    assert text in done.err


def test_the_version_is_that_of_the_package(command):
    assert convae.__version__ in command("--version").out


def test_python_m_is_the_same_program():
    arguments = [sys.executable, "-m", "convae", "--version"]
    assert subprocess.run(arguments, capture_output=True, text=True, check=True).stdout == (
        run_process("--version").stdout
    )


# Standard output


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("arguments", [("info",), ("--help",)])
def test_standard_output_on_a_full_disk_is_one_clear_line(arguments):
    with Path("/dev/full").open("w") as full:
        done = run_process(*arguments, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "standard output must be usable" in line
    assert "No space left on device" in line


def test_a_reader_that_goes_away_ends_it_quietly():
    with subprocess.Popen(
        [CONVAE, "info"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""


def test_a_name_that_is_no_text_is_printed_with_question_marks(model_path, tmp_path):
    name = os.fsdecode("ü".encode() + b"\xff.csv")
    np.save(tmp_path / "images.npy", np.zeros((2, 28, 28), np.uint8))
    done = run_process(
        *("embed", model_path, tmp_path / "images.npy", tmp_path / name),
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    assert done.returncode == 0
    assert done.stdout.endswith("/ü?.csv\n")
    assert (tmp_path / name).exists()


# info


def test_info_without_a_model_shows_the_reference_network(command):
    done = command("info")
    assert (done.code, done.err) == (0, "")
    assert "178,769: 178,385 trainable, 384 not" in done.out
    report = one_object(command("info", "--json"))
    assert report["num_parameters"] == 178_769
    assert report["architecture"]["filters"] == [32, 64]


def test_info_shows_what_a_model_is(command, model_path, fitted):
    done = command("info", model_path)
    assert (done.code, done.err) == (0, "")
    for text in ("autoencoder", "encoder", "decoder", "conv2d_1", "Conv2DTranspose", "trained on"):
        assert text in done.out
    report = one_object(command("info", model_path, "--json"))
    assert report["num_parameters"] == fitted.architecture_.num_parameters
    assert report["data"] == fitted.data_
    assert report["versions"]["backend"] in ("jax", "tensorflow", "torch")
    assert sum(row["num_parameters"] for row in report["layers"]) == report["num_parameters"]


@pytest.mark.parametrize(
    ("data", "training"),
    [
        ({}, {}),
        ({"image_shape": 7, "dtype": "\a"}, {"history": 7}),
        ({"image_shape": [None]}, {"history": ["\a"]}),
        ({"num_images": {}}, {"history": {"a": 1}, "options": []}),
    ],
)
def test_info_survives_what_a_stranger_wrote(command, tmp_path, data, training):
    architecture = Architecture(8, 8, 1, (1,), 1)
    weights = {
        name: np.ones(shape, np.float32) for name, shape in architecture.weight_shapes().items()
    }
    contents = ModelContents(architecture, weights, {"channel_axis": True}, data, training, {})
    write_model(tmp_path / "model.safetensors", contents)
    done = command("info", tmp_path / "model.safetensors")
    assert (done.code, done.err) == (0, "")
    assert all(char.isprintable() for char in done.out.replace("\n", ""))
    assert one_object(command("info", tmp_path / "model.safetensors", "--json"))["data"] == data


# Models that are none


@pytest.mark.parametrize("verb", ["info", "reconstruct", "embed"])
def test_a_model_that_is_none_is_refused(command, tmp_path, verb):
    def refused(model):
        arguments = [verb, model, "digits", tmp_path / "out.csv"]
        if verb == "reconstruct":
            arguments.insert(-1, "--out")
        return one_error(command(*(arguments if verb != "info" else arguments[:2])))

    text = tmp_path / "text.safetensors"
    text.write_text("The quick brown fox jumps over the lazy dog.\n" * 9)
    before = tree(tmp_path)
    missing = tmp_path / "missing.safetensors"
    assert refused(missing) == (
        f"{missing} cannot be used: a model or checkpoint must exist; received no such file. "
        f"Check the path."
    )
    assert f"{text} cannot be used: the header of this file must have at most" in refused(text)
    assert "must be a regular file; received a folder" in refused(tmp_path)
    assert "File name too long" in refused("n" * 300)
    assert tree(tmp_path) == before


def test_a_damaged_model_is_refused(command, tmp_path, model_path):
    damaged = bytearray(model_path.read_bytes())
    damaged[-5] ^= 1
    (tmp_path / "model.safetensors").write_bytes(damaged)
    message = one_error(command("embed", tmp_path / "model.safetensors", "digits", "out.npy"))
    assert "a file must have the checksum that it states" in message


# Data that is none: each is refused before anything is written


def write_npy(path, array):
    np.save(path, array)
    return path


def png_header(width, height):
    """A PNG that promises an image and holds none."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    checksum = struct.pack(">I", zlib.crc32(header))
    data = b"IDAT" + zlib.compress(b"")
    return b"".join(
        [
            *(b"\x89PNG\r\n\x1a\n", struct.pack(">I", 13), header, checksum),
            *(struct.pack(">I", len(data) - 4), data, struct.pack(">I", zlib.crc32(data))),
        ]
    )


def jpeg_half(folder):
    path = save_picture(folder / "whole.jpeg", 64, 64, 3)
    (folder / "half.jpeg").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    path.unlink()


BAD_DATA = {
    "an empty folder": (
        lambda folder: folder.mkdir(),
        "A folder of images must hold PNG, JPEG, TIFF, BMP, WebP, GIF, AVIF or JPEG 2000 files; "
        "{data} holds none, and 0 other files. Check the path, or convert the pictures to PNG.",
    ),
    "a text file named .png": (
        lambda folder: (folder / "text.png").write_text("no picture"),
        "A picture must be a PNG, JPEG, TIFF, BMP, WebP, GIF, AVIF or JPEG 2000 file; "
        "text.png holds something else",
    ),
    "an empty file": (
        lambda folder: (folder / "empty.png").write_bytes(b""),
        "A picture must hold data; empty.png is empty.",
    ),
    "a truncated JPEG": (
        jpeg_half,
        "A picture must be whole; decoding half.jpeg gave 'image file is truncated",
    ),
    "a picture of one pixel": (
        lambda folder: save_picture(folder / "tiny.png", 1, 1, 3),
        "A picture must be 8 pixels or more on each side; tiny.png is 1 wide and 1 high.",
    ),
    "a header that promises 400 million pixels": (
        lambda folder: (folder / "bomb.png").write_bytes(png_header(20_000, 20_000)),
        "A picture must have at most 64,000,000 pixels; the header of bomb.png says 400,000,000.",
    ),
    "NaN": (
        lambda folder: np.save(folder / "images.npy", np.full((4, 8, 8), np.nan)),
        "Images must be finite; received NaN or infinity, first in the image at index 0. Replace",
    ),
    "floats up to 255": (
        lambda folder: np.save(folder / "images.npy", np.full((4, 8, 8), 255.0)),
        "Images must be uint8, or floats in [0, 1]; received floats from 255 to 255. Divide by 255",
    ),
    "no images": (
        lambda folder: np.save(folder / "images.npy", np.zeros((0, 8, 8), np.uint8)),
        "There must be at least one image; received the shape (0, 8, 8).",
    ),
    "objects": (
        lambda folder: np.save(folder / "images.npy", np.array([{}] * 9), allow_pickle=True),
        "images.npy must be a .npy file with one numeric array; reading it gave",
    ),
    "no .npy file": (
        lambda folder: (folder / "images.npy").write_text("text"),
        "images.npy must be a .npy file with one numeric array; reading it gave",
    ),
}


@pytest.mark.parametrize("case", BAD_DATA)
@pytest.mark.parametrize("verb", ["train", "embed"])
def test_bad_data_is_one_clear_message_and_leaves_nothing(
    command, tmp_path, model_path, verb, case
):
    make, text = BAD_DATA[case]
    data = tmp_path / "data"
    if case != "an empty folder":
        data.mkdir()
    make(data)
    if (data / "images.npy").exists():
        data /= "images.npy"
    before = tree(tmp_path)
    if verb == "train":
        done = command("train", data, "--out", tmp_path / "out", *SMALL)
    else:
        done = command("embed", model_path, data, tmp_path / "out.npy")
    assert text.format(data=data) in one_error(done)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", ["mnits", "digist"])
def test_a_misspelled_data_set_gets_a_suggestion(command, tmp_path, name):
    near = {"mnits": "mnist", "digist": "digits"}[name]
    assert one_error(command("train", name, "--out", tmp_path / "out")) == (
        f"A data set must be one of digits, mnist, or the path of a folder or file that exists; "
        f"received {name!r}. Did you mean {near!r}?"
    )
    assert tree(tmp_path) == {}


def test_mnist_without_a_network_names_three_ways_out(command, tmp_path, away_from_mnist):
    message = one_error(command("train", "mnist", "--out", tmp_path / "out"))
    assert message.startswith("MNIST must be on this machine or be downloadable once")
    assert message.endswith(
        "Set CONVAE_DATA to a folder with mnist.npz, or go online once, or use the digits that "
        "ship with scikit-learn: convae train digits"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--filters", "32;64"), "--filters must be whole numbers; received '32;64'. Write it as"),
        (("--filters", ""), "--filters must be whole numbers; received ''. Write it as in --filte"),
        (("--filters", "0"), "each of filters must be from 1 to 65536; received 0. Choose"),
        (("--filters", ",".join("1" * 12)), "filters must be a tuple of 1 to 11 whole numbers"),
        (("--latent-dim", "0"), "latent_dim must be from 1 to 1048576; received 0. Choose"),
        (("--epochs", "0"), "epochs must be from 1 to 5000; received 0. Choose a value"),
        (("--batch-size", "-1"), "batch_size must be from 1 to 65536; received -1. Choose"),
        (("--learning-rate", "nan"), "learning_rate must be above 0.0 and below 1000000.0; re"),
        (("--learning-rate", "0"), "learning_rate must be above 0.0 and below 1000000.0; re"),
        (("--validation-split", "1"), "validation_split must be at least 0.0 and below 1.0; rec"),
        (("--patience", "3"), "patience needs validation images; received patience=3 with"),
        (("--seed", "-1"), "seed must be from 0 to 9223372036854775807; received -1. Choose"),
        (("--size", "64x"), "--size must be whole numbers; received '64x'. Write it as in --size"),
        (("--size", "big"), "--size must be whole numbers; received 'big'. Write it as in --size"),
        (("--size", "7"), "size must be one whole number, or (height, width), from 8 to 16384"),
        (("--size", "8x8x8"), "size must be one whole number, or (height, width), from 8 to 163"),
        (("--size", "99999x8"), "size must be one whole number, or (height, width), from 8 to 1"),
        (("--resume",), "--resume needs the checkpoint of an interrupted training; there is none"),
    ],
)
def test_a_bad_option_is_refused_before_anything_is_written(command, tmp_path, arguments, text):
    message = one_error(command("train", "digits", "--out", tmp_path / "out", *arguments))
    assert message.startswith(text)
    assert tree(tmp_path) == {}


def test_a_split_that_leaves_no_image_is_refused(command, pictures, tmp_path):
    arguments = ("train", pictures, "--out", tmp_path / "out", "--validation-split", "0.1")
    assert one_error(command(*arguments)).startswith(
        "validation_split must leave at least one image on each side; received 0.1 of 3 images."
    )


def test_latents_of_another_ending_are_refused_before_anything_is_read(command, tmp_path):
    message = one_error(command("embed", "missing", "missing", tmp_path / "latents.txt"))
    assert message == (
        f"Latents are written to a path that ends in .npy or .csv; received "
        f"{str(tmp_path / 'latents.txt')!r}. Choose one of them."
    )


# Places that cannot be written


def test_a_place_that_cannot_be_written_is_noticed_before_the_work(
    command, pictures, model_path, monkeypatch
):
    for work in ("fit", "reconstruct", "transform"):
        monkeypatch.setattr(ConvAutoencoder, work, lambda *_, **__: pytest.fail("too late"))
    file = pictures / "0.png"
    for arguments in (
        ("train", pictures, "--out", file / "out", *SMALL),
        ("train", pictures, "--out", file, *SMALL),
        ("reconstruct", model_path, pictures, "--out", file / "out"),
        ("embed", model_path, pictures, file / "latents.npy"),
    ):
        before = tree(pictures)
        message = one_error(command(*arguments))
        assert message.startswith("A result must be writable where it was asked for; writing ")
        assert "'a file is in the way of its folder'" in message
        assert tree(pictures) == before


def test_a_folder_in_the_way_of_latents_is_refused(command, pictures, model_path, tmp_path):
    (tmp_path / "latents.npy").mkdir()
    arguments = ("embed", model_path, pictures, tmp_path / "latents.npy")
    assert "latents.npy exists" in one_error(command(*arguments))
    assert "gave 'a folder is in the way'" in one_error(command(*arguments, "--overwrite"))


def test_a_finished_model_is_not_replaced_unasked(command, pictures, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model.safetensors").write_bytes(b"precious")
    before = tree(tmp_path)
    message = one_error(command("train", pictures, "--out", tmp_path / "out", *SMALL))
    assert message.startswith("A finished model must not be replaced without --overwrite; ")
    assert tree(tmp_path) == before


def test_a_full_disk_leaves_what_was_there_and_what_was_trained(
    command, pictures, tmp_path, full_disk
):
    out = tmp_path / "out"
    arguments = ("train", pictures, "--out", out, *SMALL)
    assert command(*arguments).code == 0
    before = tree(tmp_path)
    with full_disk(2000):
        message = one_error(command(*arguments, "--overwrite"))
    assert message.endswith(
        "checkpoint.safetensors gave 'File too large'. Choose another place or make room there."
    )
    assert tree(tmp_path) == before

    # What fails after the training costs no training.
    checkpoint, curve = out / "checkpoint.safetensors", out / "loss_curve.png"
    curve.unlink()
    curve.mkdir()
    message = one_error(command(*arguments, "--overwrite"))
    assert "loss_curve.png gave 'a folder is in the way'" in message
    assert message.endswith(
        f"Meanwhile the training so far is kept in {checkpoint}. Go on with the same command and "
        f"--resume."
    )
    curve.rmdir()
    assert command(*arguments, "--resume").code == 0
    model = Path("out", "model.safetensors")
    assert tree(tmp_path)[model] == before[model]


def test_results_on_a_full_disk_are_one_clear_message(
    command, pictures, model_path, tmp_path, full_disk
):
    before = tree(tmp_path)
    with full_disk(100):
        done = command("embed", model_path, pictures, tmp_path / "latents.npy")
    assert "latents.npy gave 'File too large'. Choose another place" in one_error(done)
    assert tree(tmp_path) == before


# Training end to end


def test_without_a_test_part_the_validation_images_judge(command, tmp_path, random_images):
    images = random_images(24, 8, 8)
    np.save(tmp_path / "images.npy", images)
    done = command(
        "train", tmp_path / "images.npy", "--out", tmp_path / "out", *SMALL,
        "--validation-split", "0.25", "--json",
    )  # fmt: skip
    report = one_object(done)
    held_out = np.sort(np.random.default_rng([0, 0]).permutation(24)[:6])
    model = ConvAutoencoder.load(tmp_path / "out" / "model.safetensors")
    assert report["judged_on"] == "validation"
    assert report["mse"] == pytest.approx(-model.score(images[held_out]), rel=1e-5)
    rest = np.delete(images, held_out, axis=0)[..., np.newaxis]
    latent_dim = model.architecture_.latent_dim
    cheap = pca_mse(rest, images[held_out][..., np.newaxis], latent_dim)
    assert report["pca_mse"] == pytest.approx(cheap)


def test_train_leaves_its_files_and_prints_one_object(command, tmp_path, random_images):
    np.save(tmp_path / "images.npy", random_images(24, 8, 8))
    out = tmp_path / "out"
    arguments = ("train", tmp_path / "images.npy", "--out", out, *SMALL)
    done = command(*arguments, "--json", "--tensorboard", tmp_path / "log")
    report = one_object(done)
    assert report["num_images"] == 24
    assert report["image_shape"] == [8, 8, 1]
    assert (report["judged_on"], report["epochs"], report["skipped"]) == ("training", 1, [])
    assert 0 < report["mse"] < 1
    assert sorted(report["files"].values()) == sorted(
        str(path) for path in out.iterdir() if path.name != "checkpoint.safetensors"
    )
    assert sum(line.startswith("epoch 1/1  loss ") for line in done.err.splitlines()) == 1
    (log,) = (tmp_path / "log").iterdir()
    assert b"learning_rate" in log.read_bytes()
    assert command(*arguments).code == 1
    info = one_object(command("info", report["files"]["model"], "--json"))
    assert info["training"]["options"]["epochs"] == 1


def test_a_folder_of_every_kind_of_picture_is_trained_at_an_odd_size(command, tmp_path):
    folder = tmp_path / "mixed"
    save_picture(folder / "gray.png", 20, 30)
    save_picture(folder / "color.jpg", 9, 13, 3)
    save_picture(folder / "alpha.png", 40, 8, 4)
    save_picture(folder / "palette.gif", 16, 16, 3, mode="P")
    deep = np.arange(300, dtype=np.uint16).reshape(15, 20) * 200
    Image.fromarray(deep).save(folder / "deep.png")
    save_picture(folder / "größe 日本.png", 11, 11)
    save_picture(folder / os.fsdecode(b"bytes\xff.png"), 11, 12)
    save_picture(folder / "line\nbreak.png", 11, 12)
    (folder / "broken.png").write_bytes(png_header(10, 10))
    (folder / "notes.txt").write_text("no picture")
    out = tmp_path / "out"
    arguments = ("train", folder, "--size", "9x13", "--out", out, *SMALL)

    message = one_error(command(*arguments, "--strict"))
    assert message.startswith("A picture must be whole; decoding broken.png gave ")
    assert not out.exists()

    done = command(*arguments, "--validation-split", "0.2", "--json")
    report = one_object(done)
    assert (report["num_images"], report["image_shape"]) == (8, [9, 13, 4])
    assert report["num_resized"] == 7
    assert [name for name, _ in report["skipped"]] == ["broken.png"]
    assert "1 could not be used and were skipped:\n  broken.png: A picture must be" in done.err

    done = command(
        "reconstruct", out / "model.safetensors", folder, "--out", tmp_path / "shown", "--json"
    )
    report = one_object(done)
    assert (report["num_images"], report["num_resized"]) == (8, 7)
    names = (tmp_path / "shown" / "errors.csv").read_bytes()
    assert b"bytes\xff.png" in names
    assert "größe 日本.png".encode() in names
    with Image.open(report["files"]["output_image"]) as picture:
        assert picture.size == (2 * 13, 8 * 9)

    done = command("embed", out / "model.safetensors", folder, tmp_path / "latents.csv")
    assert done.code == 0
    assert done.out.splitlines()[0] == "8 images, 3 numbers each"


def test_demo_without_mnist_says_so_in_one_line_and_uses_the_digits(
    command,
    tmp_path,
    away_from_mnist,
):
    done = command("demo", "--epochs", "1", "--out", tmp_path / "out", "--json")
    report = one_object(done)
    assert (report["num_images"], report["judged_on"]) == (1500, "test")
    first, second, *_ = done.err.splitlines()
    assert first == (
        "MNIST is not on this machine and cannot be downloaded now: training on the 1,797 "
        "handwritten digits embedded in scikit-learn instead."
    )
    assert second.startswith("1,797 handwritten digits that ship with scikit-learn")
    with Image.open(tmp_path / "out" / "output_image.png") as picture:
        assert (picture.size, picture.mode) == ((56, 280), "L")
    options = one_object(command("info", report["files"]["model"], "--json"))["training"]["options"]
    chosen = {"translation": 0, "warp": 0.0, "flip": "none", "brightness": 0.0, "tint": 0.0}
    assert options == {
        name: value
        for name, value in {**PRESETS["fast"], **chosen, "epochs": 1, "seed": 0}.items()
        if name not in ("filters", "latent_dim", "encoder_passes", "fewest_epochs")
    }


def test_demo_with_bad_epochs_writes_nothing(command, tmp_path):
    message = one_error(command("demo", "--epochs", "0", "--out", tmp_path / "out"))
    assert message.startswith("epochs must be from 1 to 5000; received 0.")
    assert tree(tmp_path) == {}


# Images that a file keeps instead of memory


def test_stored_images_do_what_images_in_memory_do(command, pictures, tmp_path, monkeypatch):
    def run(out, *options):
        commands = (
            ("train", pictures, "--out", out, *SMALL, "--size", "9", "--validation-split", "0.5"),
            ("reconstruct", out / "model.safetensors", pictures, "--out", out / "shown"),
            ("embed", out / "model.safetensors", pictures, out / "latents.csv"),
        )
        reports = [one_object(command(*words, "--json", *options)) for words in commands]
        for report in reports:
            del report["files"]
        return reports

    in_memory = run(tmp_path / "a")
    monkeypatch.setattr(memory, "memory_limit", lambda: 0)
    message = one_error(command("train", pictures, "--out", tmp_path / "b", *SMALL))
    assert "or pass store (--store FILE on the command line), which keeps" in message
    assert not (tmp_path / "b").exists()

    store = tmp_path / "stored" / "images.npy"
    assert run(tmp_path / "b", "--store", store, "--overwrite") == in_memory
    assert (in_memory[0]["judged_on"], in_memory[0]["num_resized"]) == ("validation", 3)
    for name in ("model.safetensors", "output_image.png", "shown/errors.csv", "latents.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert np.load(store).shape == (3, 9, 9, 3)


@pytest.mark.parametrize(("beside", "part"), [((), "images"), (("x_test",), "training images")])
def test_a_store_is_named_and_can_be_used_as_data(command, model_path, tmp_path, beside, part):
    images = np.zeros((3, 28, 28), np.uint8)
    np.savez(tmp_path / "images.npz", x_train=images, **dict.fromkeys(beside, images[:1]))
    store, latents = tmp_path / "store.npy", tmp_path / "latents.npy"
    done = command("embed", model_path, tmp_path / "images.npz", latents, "--store", store)
    assert done.code == 0
    assert done.err.splitlines()[-1] == (
        f"the {part} are kept in {store}, which can be used as data from now on"
    )
    again = command("embed", model_path, store, latents, "--overwrite", "--json")
    assert one_object(again)["num_images"] == 3


@pytest.mark.parametrize("verb", ["train", "reconstruct", "embed"])
def test_a_store_that_cannot_be_is_refused_before_anything_is_read(
    command, model_path, tmp_path, verb
):
    empty = tmp_path / "empty"
    empty.mkdir()
    np.save(tmp_path / "labels.npy", np.arange(9))
    before = tree(tmp_path)
    for store, text in (
        ("images.png", "Images are stored in a .npy file; received "),
        ("labels.npy", "in place of stored images; "),
    ):
        arguments = {
            "train": ("train", empty, "--out", tmp_path / "out"),
            "reconstruct": ("reconstruct", model_path, empty, "--out", tmp_path / "out"),
            "embed": ("embed", model_path, empty, tmp_path / "out.npy"),
        }[verb]
        store = tmp_path / store
        assert text in one_error(command(*arguments, "--store", store, "--overwrite"))
    assert tree(tmp_path) == before


def test_a_store_that_exists_is_replaced_on_request_alone(command, model_path, pictures, tmp_path):
    store = tmp_path / "images.npy"
    np.save(store, np.zeros((2, 28, 28, 1), np.uint8))
    for verb in (
        ("train", pictures, "--out", tmp_path / "out", *SMALL),
        ("embed", model_path, pictures, tmp_path / "out.npy"),
    ):
        before = tree(tmp_path)
        assert f"{store} exists" in one_error(command(*verb, "--store", store))
        assert tree(tmp_path) == before
    done = command("embed", model_path, pictures, tmp_path / "x.npy", "--store", store,
                   "--overwrite")  # fmt: skip
    assert (done.code, np.load(store).shape) == (0, (3, 28, 28, 1))


def test_results_never_replace_pictures_that_are_read(command, model_path, pictures, tmp_path):
    for name in ("gallery.png", "output_image.png"):
        (pictures / name).write_bytes(next(pictures.glob("*.png")).read_bytes())
    before = tree(pictures)
    for verb in (("reconstruct", model_path, pictures), ("train", pictures, *SMALL)):
        text = one_error(command(*verb, "--out", pictures, "--overwrite"))
        assert "must not replace what it is made of" in text
        assert tree(pictures) == before


def test_a_mistake_is_named_before_a_file_that_is_in_the_way(
    command, model_path, pictures, tmp_path
):
    out = tmp_path / "out"
    assert command("reconstruct", model_path, pictures, "--out", out).code == 0
    for arguments, text in (
        ((tmp_path / "none.safetensors", pictures), "none.safetensors"),
        ((model_path, tmp_path / "none"), "A data set must be one of"),
    ):
        assert text in one_error(command("reconstruct", *arguments, "--out", out))


def test_a_tilde_in_quotes_is_no_place(command, model_path, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = tree(tmp_path)
    for verb in (
        ("embed", model_path, pictures, "~/latents.npy"),
        ("train", pictures, "--out", "~/out", *SMALL),
        ("reconstruct", model_path, pictures, "--out", "~"),
    ):
        assert "A ~ is expanded by the shell" in one_error(command(*verb))
        assert tree(tmp_path) == before


def test_latents_never_replace_the_store(command, pictures, model_path, tmp_path):
    path = tmp_path / "images.npy"
    assert one_error(command("embed", model_path, pictures, path, "--store", path)) == (
        f"OUTPUT must be another file than --store; received {path} for both. "
        f"Pass another path for one of them."
    )
    assert not path.exists()


def test_judging_stored_images_copies_a_few_at_a_time(command, tmp_path, monkeypatch):
    path = tmp_path / "images.npy"
    stored = store_images((np.full((999, 32, 32), i, np.uint8) for i in range(20)), path)
    fit = ConvAutoencoder.fit
    peaks = []

    def fit_on_few(model, images, **options):
        fit(model, images[::500], **options)
        model.validation_indices_ = np.arange(0, len(images), 2)
        tracemalloc.start()
        return model

    def finish(*_):
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    monkeypatch.setattr("convae.datasets.arrays.MOST_READ_BYTES", 0)
    monkeypatch.setattr("convae.images.memory.CHUNK_VALUES", 2**17)
    monkeypatch.setattr("convae.baselines.pca.MOST_VALUES", 2**17)
    monkeypatch.setattr(ConvAutoencoder, "fit", fit_on_few)
    monkeypatch.setattr(ConvAutoencoder, "score_samples", lambda _, images: np.zeros(len(images)))
    monkeypatch.setattr("convae.cli.training.finish", finish)
    done = command("train", path, "--out", tmp_path / "out", *SMALL, "--validation-split", "0.5")
    assert done.code == 0
    # What is judged would be half of them, what was trained on the other.
    assert peaks[0] < 0.4 * stored.nbytes


# Using a model


@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
def test_images_of_other_sizes_are_fitted_and_counted(command, pictures, model_path, tmp_path, fit):
    done = command(
        "reconstruct", model_path, pictures, "--fit", fit, "--out", tmp_path / "out", "--json"
    )
    report = one_object(done)
    assert (report["num_images"], report["num_resized"]) == (3, 3)
    assert "3 of another size were changed to this one" in done.err


def test_a_single_picture_is_reconstructed(command, pictures, model_path, tmp_path):
    done = command("reconstruct", model_path, pictures / "1.png", "--out", tmp_path / "out")
    assert done.code == 0
    assert done.out.startswith("1 images: MSE ")
    assert (tmp_path / "out" / "errors.csv").read_text().splitlines()[1].startswith("1.png,")


def test_refining_lowers_the_error_and_gives_the_latents_that_do(
    command, pictures, model_path, tmp_path
):
    errors, rows = [], []
    for steps in ("0", "3"):
        options = ("--refine", steps, "--fit", "pad", "--overwrite", "--json")
        done = command("reconstruct", model_path, pictures, "--out", tmp_path / "out", *options)
        errors.append(one_object(done)["mse"])
        path = tmp_path / f"{steps}.npy"
        one_object(command("embed", model_path, pictures, path, *options))
        rows.append(np.load(path))
    assert errors[1] < errors[0]
    assert rows[0].shape == rows[1].shape
    assert not np.allclose(*rows)


@pytest.mark.parametrize("steps", ["-1", "1001"])
def test_a_number_of_refinement_steps_out_of_range_is_refused(
    command, pictures, model_path, tmp_path, steps
):
    for arguments in (
        ("reconstruct", model_path, pictures, "--out", tmp_path / "out"),
        ("embed", model_path, pictures, tmp_path / "latents.npy"),
    ):
        message = one_error(command(*arguments, "--refine", steps))
        assert message.startswith(f"refinement_steps must be from 0 to 1000; received {steps}.")


def test_the_test_part_is_what_is_reconstructed(command, model_path, tmp_path, random_images):
    path = tmp_path / "images.npz"
    np.savez(path, x_train=random_images(5, 28, 28), x_test=random_images(2, 28, 28))
    report = one_object(
        command("reconstruct", model_path, path, "--out", tmp_path / "out", "--json")
    )
    assert report["num_images"] == 2


def test_a_perfect_reconstruction_is_null_in_json(command, model_path, tmp_path, monkeypatch):
    np.save(tmp_path / "images.npy", np.zeros((2, 28, 28), np.uint8))
    monkeypatch.setattr(
        AppliedAutoencoder, "reconstruct", lambda _, images, steps: np.zeros(images.shape)
    )
    arguments = ("reconstruct", model_path, tmp_path / "images.npy", "--out", tmp_path / "out")
    assert "PSNR inf dB" in command(*arguments).out
    assert one_object(command(*arguments, "--overwrite", "--json"))["psnr_db"] is None


def test_latents_are_those_of_the_estimator(command, pictures, model_path, tmp_path, fitted):
    images = np.stack([np.asarray(Image.open(pictures / f"{i}.png")) for i in range(3)])
    assert images.shape == (3, 12, 10, 3)
    np.save(tmp_path / "images.npy", np.zeros((3, 28, 28), np.uint8))
    done = command("embed", model_path, tmp_path / "images.npy", tmp_path / "latents.npy", "--json")
    report = one_object(done)
    assert (report["num_images"], report["latent_dim"]) == (3, 6)
    assert report["files"] == {"latents": str(tmp_path / "latents.npy")}
    np.testing.assert_array_equal(
        np.load(tmp_path / "latents.npy"), fitted.transform(np.zeros((3, 28, 28), np.uint8))
    )
    assert command("embed", model_path, pictures, tmp_path / "latents.csv").code == 0
    lines = (tmp_path / "latents.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["image", "0.png", "1.png", "2.png"]


def test_one_corrupt_picture_among_many_is_skipped_and_named(
    command, pictures, model_path, tmp_path
):
    whole = (pictures / "1.png").read_bytes()
    (pictures / "1.png").write_bytes(whole[: len(whole) // 2])
    (pictures / "\a.png").write_text("text")
    arguments = ("embed", model_path, pictures, tmp_path / "latents.npy")
    done = command(*arguments, "--json")
    report = one_object(done)
    assert report["num_images"] == 2
    assert [name for name, _ in report["skipped"]] == ["\a.png", "1.png"]
    assert "2 could not be used and were skipped:" in done.err
    assert "  1.png: A picture must be whole; decoding 1.png gave " in done.err
    assert "\n  ?.png: A picture must be " in done.err
    (tmp_path / "latents.npy").unlink()
    assert one_error(command(*arguments, "--strict")).startswith("A picture must be ")
    assert not (tmp_path / "latents.npy").exists()


def test_of_many_corrupt_pictures_the_first_of_each_reason_is_named(
    command, pictures, model_path, tmp_path
):
    for index in range(8):
        (pictures / f"bad{index}.png").write_text("text")
    done = command("embed", model_path, pictures, tmp_path / "latents.npy")
    assert done.code == 0
    assert done.err.count("  bad") == 1
    assert "  bad0.png: A picture must be a PNG" in done.err
    assert done.err.endswith(" (and 7 more for this reason)\n")


def test_a_broken_backend_setting_is_one_clear_message(tmp_path, model_path):
    np.save(tmp_path / "images.npy", np.zeros((2, 28, 28), np.uint8))
    done = run_process(
        *("embed", model_path, tmp_path / "images.npy", tmp_path / "latents.npy"),
        env={**os.environ, "KERAS_BACKEND": "abacus"},
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(
        "Error: KERAS_BACKEND must be one of jax, tensorflow, torch; received 'abacus'. "
        "Unset it to use JAX.\n"
    )


def test_a_tensorboard_log_without_its_package_leaves_nothing(
    command, pictures, tmp_path, monkeypatch
):
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorboardX"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    arguments = ("--out", tmp_path / "out", "--tensorboard", tmp_path / "log")
    message = one_error(command("train", pictures, *arguments))
    assert message.endswith('Install it with: pip install "convae[tensorboard]"')
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_is_no_model(command, tmp_path, random_images):
    np.save(tmp_path / "images.npy", random_images(4, 8, 8))
    assert command("train", tmp_path / "images.npy", "--out", tmp_path, *SMALL).code == 0
    _, document = read_tensors(tmp_path / "checkpoint.safetensors")
    assert document["kind"] == "checkpoint"
    message = one_error(command("info", tmp_path / "checkpoint.safetensors"))
    assert "kind must be 'model'; received 'checkpoint', an unfinished training." in message
