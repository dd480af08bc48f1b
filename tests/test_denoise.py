"""Noise and taking it away: `Denoiser`, `add_noise`, and the verb `denoise`."""

import csv
import json

import numpy as np
import pytest

from convae import Denoiser, add_noise, load_dataset, load_model
from convae.baselines.linear_filter import LinearFilter
from convae.errors import ImageError, ModelFileError, ParameterError
from convae.images import read_exact, read_image, write_image
from convae.jobs.denoise import denoiser as denoiser_module
from convae.jobs.denoise import fitted as fitted_module
from convae.jobs.denoise.level import noise_deviation
from convae.jobs.denoise.noise import NOISES
from convae.jobs.denoise.patches import Pieces
from convae.nn.blind import BlindModel, clean_values
from convae.nn.unet import draw_weights
from convae.storage.modelfile import FittedJob

STRENGTH = 0.5
STEPS = 300


@pytest.fixture(scope="module")
def clean():
    """Digits that no model of these tests was trained on, float32."""
    return load_dataset("digits").test[:40].astype(np.float32) / np.float32(255)


@pytest.fixture(scope="module")
def noisy(clean):
    """The same with noise, uint8."""
    found = add_noise(clean, "gaussian", STRENGTH, np.random.default_rng(5))
    return np.rint(255 * found).astype(np.uint8)


@pytest.fixture(scope="module")
def denoiser(fitted):
    """A small denoiser of digits; tests must not change it."""
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        digits = load_dataset("digits").train[:800]
        return Denoiser(fitted, strength=0.8, steps=STEPS).fit(digits)


@pytest.fixture(scope="module")
def denoiser_path(denoiser, tmp_path_factory):
    """The model file of `denoiser`."""
    path = tmp_path_factory.mktemp("denoiser") / "model.safetensors"
    denoiser.save(path)
    return path


def make_small(patch):
    """A network and batches with which a few hundred steps take seconds."""
    patch.setattr(denoiser_module, "WIDTHS", (20, 40))
    patch.setattr(denoiser_module, "BATCH_PIXELS", 16 * 28 * 28)


def untrained(channels, seed=0):
    """A denoiser with weights that nobody trained: what it gives changes with every pixel."""
    found = Denoiser()
    plan = denoiser_module.UNet(channels, channels, (3, 4), (1, 1))
    random = np.random.default_rng(seed)
    weights = {
        name: (random.standard_normal(shape) / np.sqrt(2 * np.prod(shape[:-1]))).astype(np.float32)
        for name, shape in plan.weight_shapes().items()
    }
    found.trained_ = denoiser_module.TrainedUNet(plan, weights, "gaussian", 0.5, ())
    return found


@pytest.mark.parametrize(
    ("kind", "mean", "deviation"),
    [
        ("gaussian", 0.4, 0.1),
        ("speckle", 0.4, 0.04),
        ("poisson", 0.4, 0.1 * 0.4**0.5),
        ("salt-and-pepper", 0.9 * 0.4 + 0.05, None),
        ("blocks", 0.36, None),
        ("blur", 0.4, 0),
    ],
)
def test_noise_has_the_strength_that_is_stated(kind, mean, deviation):
    gray = np.full((40, 64, 64, 1), 0.4, np.float32)
    found = add_noise(gray, kind, 0.1, np.random.default_rng(0))
    assert found.dtype == np.float32
    assert found.mean() == pytest.approx(mean, abs=0.004)
    if deviation is None:
        assert (found != gray).mean() == pytest.approx(0.1, abs=0.01)
    else:
        assert found.std() == pytest.approx(deviation, rel=0.02, abs=1e-6)


@pytest.mark.parametrize("kind", NOISES)
def test_each_image_has_its_own_strength_and_none_is_none(kind, clean):
    strengths = np.array([0, 1], np.float32)
    found = add_noise(clean[:2], kind, strengths, np.random.default_rng(0))
    np.testing.assert_allclose(found[0], clean[0], atol=1e-6)
    assert np.abs(found[1] - clean[1]).mean() > 0.02
    assert found.min() >= 0
    assert found.max() <= 1


def test_blur_is_the_gaussian_that_is_stated():
    point = np.zeros((1, 41, 41, 1), np.float32)
    point[0, 20, 20] = 1
    found = add_noise(point, "blur", 0.5, np.random.default_rng(0))[0, :, :, 0].astype(float)
    assert (found.sum(axis=0) @ (np.arange(41) - 20.0) ** 2) == pytest.approx(4, rel=0.02)


@pytest.mark.parametrize(
    ("kind", "strength", "message"),
    [("gauss", 0.1, "kind of noise"), ("gaussian", 1.5, "from 0 to 1"), ("blur", np.nan, "0 to 1")],
)
def test_other_noise_is_refused(kind, strength, message, clean):
    with pytest.raises(ParameterError, match=message):
        add_noise(clean, kind, strength, np.random.default_rng(0))


@pytest.mark.parametrize("deviation", [0.02, 0.25, 0.5, 0.9])
def test_the_deviation_is_found_although_values_are_clipped(deviation):
    """The deviation of what is left of the noise would be far too small."""
    random = np.random.default_rng(0)
    clean = np.where(random.random(40_000) < 0.7, 0, random.random(40_000)).astype(np.float32)
    noisy = add_noise(clean.reshape(1, 200, 200, 1), "gaussian", deviation, random)
    found = noise_deviation(noisy, clean.reshape(noisy.shape))
    assert found == pytest.approx(deviation, rel=0.02)
    if deviation > 0.2:
        assert (noisy.ravel() - clean).std() < 0.8 * deviation


def test_an_image_without_noise_has_next_to_none(clean):
    assert noise_deviation(clean, clean) == pytest.approx(0.5 / 255)
    white = np.ones((1, 8, 8, 1), np.float32)
    assert noise_deviation(white, white) < 0.01


def test_the_filter_is_the_one_with_the_least_squared_error():
    random = np.random.default_rng(0)
    seen = random.random((3, 150, 150, 1), np.float32)
    # But for what comes in at the edge.
    shifted = np.roll(seen, 2, axis=1)
    found = LinearFilter.fit(seen, shifted).apply(seen)
    np.testing.assert_allclose(found[:, 6:-6], shifted[:, 6:-6], atol=0.03)


def test_it_takes_noise_away_better_than_a_linear_filter(denoiser, clean, noisy):
    def error(images):
        return float(np.square(images - clean).mean())

    learned = load_dataset("digits").train[:300].astype(np.float32) / 255
    worse = add_noise(learned, "gaussian", STRENGTH, np.random.default_rng(6))
    linear = LinearFilter.fit(worse, learned).apply(noisy / np.float32(255))
    found = denoiser.denoise(noisy)
    assert (found.shape, found.dtype) == (noisy.shape, np.float32)
    assert error(found) < 0.6 * error(linear) < 0.3 * error(noisy / 255)
    # And what has no noise is hardly changed.
    assert error(denoiser.denoise(clean)) < 0.003


def test_it_tells_how_strong_the_noise_is(denoiser, clean):
    for strength in (0.25, 0.5, 0.75):
        noise = add_noise(clean, "gaussian", strength, np.random.default_rng(1))
        assert denoiser.noise_levels(noise).mean() == pytest.approx(strength, rel=0.05)


def test_the_network_for_gray_images_is_as_large_as_the_docs_say():
    plan = denoiser_module.UNet(1, 1, denoiser_module.WIDTHS, denoiser_module.BLOCKS)
    assert plan.num_parameters == 203_008


def test_it_says_what_a_linear_filter_does(denoiser):
    described = denoiser.describe()
    for row in described.figures["psnr_db"]:
        assert row["noisy"] < row["linear_filter"] < row["denoised"]
        assert any(f"denoised {row['denoised']:.1f} dB" in line for line in described.lines)
    assert [row["strength"] for row in described.figures["psnr_db"]] == [0.4, 0.8]
    assert not any("is as good" in line for line in described.lines)


def test_it_says_if_a_linear_filter_is_as_good(fitted, digits):
    hardly_trained = Denoiser(fitted, steps=1).fit(digits[:20])
    described = hardly_trained.describe()
    assert any(row["linear_filter"] >= row["denoised"] for row in described.figures["psnr_db"])
    assert described.lines[-1].startswith("  a linear filter is as good")


def test_it_comes_back_from_its_file(denoiser, denoiser_path, noisy):
    expected = denoiser.denoise(noisy)
    again = load_model(denoiser_path).job("denoising")
    np.testing.assert_array_equal(again.denoise(noisy), expected)
    loaded = Denoiser.load(denoiser_path)
    np.testing.assert_array_equal(loaded.denoise(noisy), expected)
    assert (loaded.noise, loaded.strength) == ("gaussian", 0.8)
    # Without a channel axis too.
    np.testing.assert_array_equal(again.denoise(noisy[..., 0]), expected[..., 0])


def test_a_large_image_has_no_seams(monkeypatch):
    """Tile by tile it is what it is as a whole."""
    image = np.random.default_rng(0).random((1, 203, 131, 1), np.float32)
    model = untrained(1)
    whole = model.denoise(image)
    for name, side in (("SMALLEST_TILE", 32), ("LARGEST_TILE", 64)):
        monkeypatch.setattr(fitted_module, name, side)
    np.testing.assert_allclose(model.denoise(image), whole, atol=2e-6)
    assert np.abs(whole - image).mean() > 0.01


def test_images_together_are_what_they_are_alone(monkeypatch):
    images = np.random.default_rng(0).random((7, 16, 20, 1), np.float32)
    model = untrained(1)
    together = model.denoise(images)
    monkeypatch.setattr(fitted_module, "MOST_NUMBERS", 1)
    np.testing.assert_allclose(model.denoise(images), together, atol=1e-6)


def test_a_gray_denoiser_takes_channels_one_by_one():
    image = np.random.default_rng(0).random((2, 12, 12, 4), np.float32)
    model = untrained(1)
    found = model.denoise(image)
    for channel in range(3):
        np.testing.assert_allclose(
            found[..., channel], model.denoise(image[..., channel]), atol=1e-6
        )
    np.testing.assert_array_equal(found[..., 3], image[..., 3])


def test_a_color_denoiser_takes_gray_for_a_color():
    image = np.random.default_rng(0).random((2, 12, 12, 1), np.float32)
    model = untrained(3)
    colored = model.denoise(np.repeat(image, 3, axis=3))
    np.testing.assert_allclose(model.denoise(image), colored.mean(axis=3, keepdims=True), atol=1e-6)
    color = np.random.default_rng(1).random((2, 12, 12, 4), np.float32)
    found = model.denoise(color)
    np.testing.assert_allclose(found[..., :3], model.denoise(color[..., :3]), atol=1e-6)
    np.testing.assert_array_equal(found[..., 3], color[..., 3])
    # One of RGBA takes what is opaque.
    opaque = np.concatenate([color[..., :3], np.ones_like(color[..., :1])], axis=3)
    with_alpha = untrained(4)
    np.testing.assert_allclose(
        with_alpha.denoise(color[..., :3]), with_alpha.denoise(opaque)[..., :3], atol=1e-6
    )


@pytest.mark.parametrize(
    ("shape", "dtype"), [((1, 1, 1), np.uint8), ((3, 70, 3), np.uint16), ((9, 5, 2), np.uint8)]
)
def test_a_picture_of_any_size_keeps_its_type(shape, dtype):
    random = np.random.default_rng(0)
    picture = random.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    found = untrained(1).denoise_picture(picture)
    assert (found.shape, found.dtype) == (shape, dtype)
    if shape[2] == 2:
        np.testing.assert_array_equal(found[..., 1], picture[..., 1])


def test_16_bits_stay_16_bits(denoiser, clean):
    deep = np.rint(clean[0] * 65_535).astype(np.uint16)
    found = denoiser.denoise_picture(deep)
    np.testing.assert_allclose(found / 65_535, denoiser.denoise(clean[:1])[0], atol=2e-5)
    assert len(np.unique(found & 255)) > 100


def test_it_learns_from_pictures_at_their_own_sizes(fitted, monkeypatch):
    """The images are 28 x 28; what it learns from are the pictures that they were made of."""
    monkeypatch.setattr(denoiser_module, "WIDTHS", (4, 6))
    seen = []
    draw = Pieces.draw

    def draw_and_note(self, count, sides, random):
        seen.append(sides)
        return draw(self, count, sides, random)

    monkeypatch.setattr(Pieces, "draw", draw_and_note)
    random = np.random.default_rng(0)
    batches = [
        (random.integers(0, 256, (2, 300, 200, 3)).astype(np.uint8), ["a", "b"]),
        (random.integers(0, 65_536, (2, 40, 50, 1)).astype(np.uint16), ["c", "d"]),
    ]
    Denoiser(fitted, steps=1).fit(load_dataset("digits").train[:8], pictures=batches)
    assert set(seen) == {(44, 64)}


def test_pieces_of_a_picture_and_copies_are_held_out_together():
    random = np.random.default_rng(0)
    large = random.integers(0, 256, (1, 512, 512, 1)).astype(np.uint8)
    small = random.integers(0, 256, (60, 9, 9, 1)).astype(np.uint8)
    batches = [(large, ["large"]), (small, []), (small[:30], [])]
    pieces = Pieces.of_pictures(batches, 1, 0)
    assert len(pieces.pixels) == 4 + 90
    assert len(np.unique(pieces.groups)) == 61
    seen, held_out = pieces.split(0)
    assert len(held_out.pixels) >= 3
    known = {piece.tobytes() for piece in seen.pixels}
    assert not any(piece.tobytes() in known for piece in held_out.pixels)
    assert len(seen.pixels) + len(held_out.pixels) == 94


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_images_without_variation_are_enough(fitted, count, monkeypatch):
    monkeypatch.setattr(denoiser_module, "WIDTHS", (4, 6))
    gray = np.full((count, 28, 28, 1), 128, np.uint8)
    found = Denoiser(fitted, steps=2).fit(gray)
    assert np.isfinite(found.denoise(gray)).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise": "fog"}, "noise must be one of"),
        ({"strength": 0}, "strength must be above 0"),
        ({"strength": 1.1}, "strength must be"),
        ({"steps": 0}, "steps must be"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_parameters_outside_their_ranges_are_refused(fitted, digits, settings, message):
    with pytest.raises(ParameterError, match=message):
        Denoiser(fitted, **settings).fit(digits)


def test_what_is_no_image_is_refused(denoiser):
    bad = np.full((1, 28, 28, 1), np.nan, np.float32)
    with pytest.raises(ImageError, match="NaN"):
        denoiser.denoise(bad)


def test_a_model_without_the_job_is_refused(model_path):
    with pytest.raises(ModelFileError, match="--for denoising"):
        load_model(model_path).job("denoising")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise": "fog"}, "noise must be one of"),
        ({"noise": ["gaussian"]}, "noise must be one of"),
        ({"strength": "strong"}, "strength must be a number"),
        ({"strength": 2}, "strength must be from 0 to 1"),
        ({"errors": {}}, "pairs of numbers"),
        ({"errors": [[0.5]]}, "pairs of numbers"),
        ({"errors": [[0.1, 0.1]] * 101}, "at most 100"),
        ({"errors": [[0.5, 0.1], [0.5, 0.2]]}, "must go up"),
        ({"errors": [[0.5, 1e300]]}, "each error must be"),
        ({"network": {}}, "must have the keys"),
        ({"more": 1}, "must have errors, network, noise and strength"),
    ],
)
def test_a_hostile_file_is_refused(denoiser, fitted, change, message):
    job = denoiser.to_job()
    changed = FittedJob({**job.settings, **change}, job.tables)
    with pytest.raises(ModelFileError, match=message):
        Denoiser.from_job(changed, fitted, "x")


def test_a_network_of_other_channels_or_with_other_weights_is_refused(denoiser, fitted):
    job = denoiser.to_job()
    network = {**job.settings["network"], "inputs": 3, "outputs": 3}
    with pytest.raises(ModelFileError, match="1 channels"):
        Denoiser.from_job(FittedJob({**job.settings, "network": network}, job.tables), fitted, "x")
    tables = {**job.tables, "first": job.tables["first"][..., :-1]}
    with pytest.raises(ModelFileError, match="first must be"):
        Denoiser.from_job(FittedJob(job.settings, tables), fitted, "x")


def test_weights_that_overflow_are_refused():
    model = untrained(1)
    weights = {name: weight * np.float32(1e30) for name, weight in model.trained_.weights.items()}
    model.trained_ = denoiser_module.TrainedUNet(model.trained_.plan, weights, "gaussian", 0.5, ())
    with pytest.raises(ModelFileError, match="finite"):
        model.denoise(np.ones((1, 8, 8), np.float32))


def test_the_verb_keeps_names_sizes_and_bits(denoiser_path, tmp_path, clean, noisy, command):
    pictures = tmp_path / "noisy"
    write_image(pictures / "a.png", noisy[0])
    write_image(pictures / "deep/b.png", (noisy[1].astype(np.uint16) << 8))
    write_image(pictures / "wide.png", np.concatenate(list(noisy[2:6]), axis=1))
    (pictures / "c.png").write_bytes(b"no picture")
    done = command("denoise", denoiser_path, pictures, tmp_path / "out", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["num_images"] == 3
    assert [name for name, _ in found["skipped"]] == ["c.png"]
    assert found["noise_level"] == pytest.approx(STRENGTH, rel=0.15)
    written = tmp_path / "out/pictures"
    assert read_exact(written / "deep/b.png").dtype == np.uint16
    assert read_image(written / "wide.png").shape == (28, 112, 1)
    error = np.square(read_image(written / "a.png") / 255 - clean[0]).mean()
    assert error < 0.3 * np.square(noisy[0] / 255 - clean[0]).mean()
    with (tmp_path / "out/noise.csv").open(encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    assert [row["name"] for row in rows] == ["a.png", "deep/b.png", "wide.png"]
    assert rows[0]["file"] == "pictures/a.png"
    assert float(rows[0]["noise_level"]) == pytest.approx(STRENGTH, rel=0.2)
    # Three pairs, of which the wide one decides the cells.
    assert read_image(tmp_path / "out/comparison.png").shape[2] == 3
    assert not list(tmp_path.glob("out/**/*.part"))


def test_the_verb_replaces_nothing_unasked(denoiser_path, tmp_path, noisy, command):
    write_image(tmp_path / "a.png", noisy[0])
    line = ("denoise", denoiser_path, tmp_path / "a.png", tmp_path / "out")
    assert command(*line).code == 0
    before = (tmp_path / "out/pictures/a.png").read_bytes()
    refused = command(*line)
    assert refused.code == 1
    assert "--overwrite" in refused.err
    assert (tmp_path / "out/pictures/a.png").read_bytes() == before
    assert command(*line, "--overwrite").code == 0
    # Where its own results lie, nothing is read and replaced at once.
    line = ("denoise", denoiser_path, tmp_path / "out", tmp_path / "out", "--overwrite")
    assert command(*line).code == 1


def test_the_verb_needs_a_model_with_the_job(model_path, tmp_path, noisy, command):
    write_image(tmp_path / "a.png", noisy[0])
    done = command("denoise", model_path, tmp_path / "a.png", tmp_path / "out")
    assert done.code == 1
    assert "--for denoising" in done.err
    assert not (tmp_path / "out").exists()


def test_train_fits_a_denoiser_of_a_kind(tmp_path, command, monkeypatch, digits):
    monkeypatch.setattr(denoiser_module, "WIDTHS", (4, 6))
    for index, image in enumerate(digits[:30]):
        write_image(tmp_path / f"pictures/{index}.png", image)
    done = command(
        "train", tmp_path / "pictures", "--for", "denoising", "--noise", "salt-and-pepper",
        "--strength", "0.3", "--steps", "3", "--filters", "4", "--latent-dim", "4", "--epochs", "1",
        "--out", tmp_path / "out", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    job = json.loads(done.out)["jobs"]["denoising"]
    assert (job["noise"], job["strength"]) == ("salt-and-pepper", 0.3)
    assert [row["strength"] for row in job["psnr_db"]] == [0.15, 0.3]
    trained = load_model(tmp_path / "out/model.safetensors").job("denoising").trained_
    assert (trained.noise, trained.strength) == ("salt-and-pepper", 0.3)


def test_train_refuses_noise_that_it_does_not_know(tmp_path, command):
    line = ("train", "digits", "--for", "denoising", "--noise", "fog", "--out", tmp_path / "out")
    done = command(*line)
    assert done.code == 1
    assert "noise must be one of gaussian" in done.err


def test_it_learns_the_noise_it_is_told(fitted, monkeypatch):
    """What takes grains of salt and pepper away leaves the rest as it is."""
    make_small(monkeypatch)
    digits = load_dataset("digits").train[:400]
    model = Denoiser(fitted, noise="salt-and-pepper", strength=0.3, steps=STEPS).fit(digits)
    clean = load_dataset("digits").test[:40].astype(np.float32) / 255
    noise = add_noise(clean, "salt-and-pepper", 0.2, np.random.default_rng(0))
    assert np.square(model.denoise(noise) - clean).mean() < 0.2 * np.square(noise - clean).mean()


def test_it_learns_from_noisy_images_alone(fitted, clean, noisy, monkeypatch):
    """No clean image is seen; the noise is found although it is clipped."""
    make_small(monkeypatch)
    seen = load_dataset("digits").train[:1000].astype(np.float32) / 255
    seen = add_noise(seen, "gaussian", STRENGTH, np.random.default_rng(2))
    seen = np.rint(255 * seen).astype(np.uint8)
    steps = []
    model = Denoiser(fitted, blind=True, steps=600)
    model.fit(seen, progress=lambda *step: steps.append(step))
    assert steps == [(step, 600) for step in range(1, 601)]
    described = model.describe()
    assert described.figures["strength"] == pytest.approx(STRENGTH, rel=0.1)
    assert f"deviation of {described.figures['strength']:.3f}" in described.lines[0]
    found = np.square(model.denoise(noisy) - clean).mean()
    # What is expected is that of a network which sees less; after few steps it promises too little.
    assert -2.5 < described.figures["expected_psnr_db"] + 10 * np.log10(found) < 0.7
    assert model.noise_levels(noisy).mean() == pytest.approx(STRENGTH, rel=0.1)
    # Learned from noisy targets alone, even the best answer would keep the gray of clipped noise.
    gray = np.maximum(0, STRENGTH * np.random.default_rng(0).standard_normal(10_000)).mean()
    assert found < 0.5 * gray**2
    assert found < 0.1 * np.square(noisy / 255 - clean).mean()


def test_only_what_was_hidden_is_guessed():
    random = np.random.default_rng(0)
    model = BlindModel(1, 17, (3, 4), (1, 1))
    seen = random.integers(0, 256, (2, 8, 8, 1)).astype(np.int32)
    hidden = (random.random(seen.shape) < 0.3).astype(np.float32)
    model.deviation = 0.1
    found, variances = clean_values(model, {"seen": seen, "hidden": hidden})
    assert (np.isnan(found) == (hidden == 0)).all()
    assert (np.isnan(variances) == (hidden == 0)).all()
    # With levels that are all as likely, the mean is near what was seen.
    middle = (hidden > 0) & (seen > 60) & (seen < 190)
    np.testing.assert_allclose(found[middle], seen[middle] / 255, atol=0.01)
    np.testing.assert_allclose(variances[middle], 0.1**2, rtol=0.1)
    # What was seen there does not reach the network's guess, only the mean.
    changed = np.where(hidden > 0, 255 - seen, seen)
    draw_weights(model.weights_by_name, 0)
    costs = [np.asarray(model({"seen": values, "hidden": hidden})) for values in (seen, changed)]
    shown = np.broadcast_to(hidden == 0, seen.shape)
    np.testing.assert_allclose(costs[0][shown], costs[1][shown], atol=1e-4)


@pytest.mark.parametrize("levels", [0, 7])
def test_noisy_images_without_variation_are_enough(fitted, levels, monkeypatch):
    monkeypatch.setattr(denoiser_module, "WIDTHS", (4, 6))
    gray = np.full((2, 28, 28, 1), levels, np.uint8)
    found = Denoiser(fitted, blind=True, steps=4).fit(gray)
    assert np.isfinite(found.denoise(gray)).all()


def test_blind_goes_with_gaussian_noise_alone(fitted, digits):
    with pytest.raises(ParameterError, match="blind must go with gaussian noise"):
        Denoiser(fitted, blind=True, noise="blur").fit(digits)


def test_train_fits_a_denoiser_on_noisy_pictures(tmp_path, command, monkeypatch, noisy):
    monkeypatch.setattr(denoiser_module, "WIDTHS", (4, 6))
    for index, image in enumerate(noisy[:12]):
        write_image(tmp_path / f"pictures/{index}.png", image)
    done = command(
        "train", tmp_path / "pictures", "--for", "denoising", "--blind", "--steps", "4",
        "--filters", "4", "--latent-dim", "4", "--epochs", "1", "--out", tmp_path / "out", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    job = json.loads(done.out)["jobs"]["denoising"]
    assert (job["blind"], job["psnr_db"]) == (True, [])
    assert 0.1 < job["strength"] < 1


def test_black_pictures_have_no_figure_in_json(tmp_path, command, monkeypatch):
    """Their PSNR is infinite, which JSON cannot hold."""
    monkeypatch.setattr(denoiser_module, "WIDTHS", (4, 6))
    monkeypatch.setattr(denoiser_module.Denoiser, "_noisy", lambda _, clean, *__: clean)
    for index in range(3):
        write_image(tmp_path / f"pictures/{index}.png", np.zeros((28, 28, 1), np.uint8))
    done = command(
        "train", tmp_path / "pictures", "--for", "denoising", "--steps", "2", "--filters", "4",
        "--latent-dim", "4", "--epochs", "1", "--out", tmp_path / "out", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    first = json.loads(done.out)["jobs"]["denoising"]["psnr_db"][0]
    assert (first["noisy"], first["strength"]) == (None, 0.25)
