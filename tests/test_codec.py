"""`ImageCodec`, and the training of its networks."""

import dataclasses
import lzma
import subprocess
import sys

import numpy as np
import pytest
from coders import learn_in_steps, random_model, smooth_images
from sklearn.exceptions import NotFittedError

import convae.jobs.codec.codec
from convae import AnomalyDetector, ConvAutoencoder, ImageCodec
from convae.coding.archive import ImageArchive
from convae.coding.blocks import Method, to_planes
from convae.coding.contexts import ContextNetwork, exponentials
from convae.coding.samples import FLAT_RARITY, ContextSampler
from convae.coding.tiles import Tiles
from convae.errors import ImageError, ModelFileError, OutputError, ParameterError
from convae.jobs.codec.latents import ROUNDING_SHARE, fit_latent_codes
from convae.jobs.codec.pixels import bits_a_byte, fit_contexts
from convae.nn.backend import keras
from convae.nn.contexts import _ContextModel, model_inputs, train_contexts


def read_all(codec, path):
    with codec.open(path) as archive:
        return [(part, names) for part, names in archive.read()]


def test_digits_come_back_exactly_and_small(codec, digits, tmp_path):
    path = tmp_path / "digits.cae"
    report = codec.compress(digits, path)
    assert report.num_images == len(digits)
    assert report.num_bytes == path.stat().st_size
    assert report.num_raw_bytes == digits.size
    # A network that learned nothing would take 8 bits a pixel; with 150 steps it takes 2.2.
    assert report.num_bytes < 0.85 * len(lzma.compress(digits.tobytes(), preset=9))
    ((part, names),) = read_all(codec, path)
    np.testing.assert_array_equal(part, digits)
    assert names == ()


def test_a_saved_codec_decodes_and_writes_the_same_bytes(codec, codec_path, digits, tmp_path):
    loaded = ImageCodec.load(codec_path)
    codec.compress(digits, tmp_path / "a.cae")
    loaded.compress(digits, tmp_path / "b.cae")
    assert (tmp_path / "a.cae").read_bytes() == (tmp_path / "b.cae").read_bytes()
    with loaded.open(tmp_path / "a.cae") as archive:
        np.testing.assert_array_equal(archive[5], digits[5])
    np.testing.assert_array_equal(
        loaded.autoencoder_.transform(digits), codec.autoencoder_.transform(digits)
    )


def test_decoding_needs_no_backend(codec, codec_path, digits, tmp_path):
    path = tmp_path / "digits.cae"
    codec.compress(digits, path)
    np.save(tmp_path / "digits.npy", digits[..., 0])
    program = f"""
import sys
from convae.cli.main import main
assert main(["decompress", {str(path)!r}, {str(tmp_path / "out.npy")!r}, "--model",
             {str(codec_path)!r}]) == 0
loaded = {{name.split(".")[0] for name in sys.modules}} & {{"keras", "jax", "tensorflow", "torch"}}
sys.exit(f"loads {{loaded}}" if loaded else 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out.npy").read_bytes() == (tmp_path / "digits.npy").read_bytes()


@pytest.mark.parametrize("max_error", [1, 2, 6, 127])
def test_no_pixel_is_off_by_more_than_what_was_asked_for(codec, digits, tmp_path, max_error):
    exact = codec.compress(digits, tmp_path / "exact.cae").num_bytes
    less = codec.compress(digits, tmp_path / "less.cae", max_error=max_error).num_bytes
    ((part, _),) = read_all(codec, tmp_path / "less.cae")
    off = np.abs(part.astype(int) - digits).max()
    assert 0 < off <= max_error
    assert less < exact


@pytest.mark.parametrize(
    ("count", "height", "width", "channels", "dtype"),
    [
        (1, 28, 28, 1, np.uint8),
        (3, 5, 61, 1, np.uint8),
        (3, 20, 20, 3, np.uint8),
        (3, 20, 20, 1, np.uint16),
        (2, 1, 1, 2, np.uint8),
    ],
)
def test_images_of_other_kinds_cost_more_but_come_back(
    codec, tmp_path, count, height, width, channels, dtype
):
    images = smooth_images(count, height, width, channels, dtype)
    codec.compress(images[..., 0] if channels == 1 else images, tmp_path / "x.cae")
    ((part, _),) = read_all(codec, tmp_path / "x.cae")
    np.testing.assert_array_equal(part, images)


def test_noise_and_blank_images_come_back(codec, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (3, 28, 28)).astype(np.uint8)
    blank = np.full((3, 28, 28), 77, np.uint8)
    report = codec.compress([*noise, *blank], tmp_path / "x.cae")
    assert report.num_bytes < 1.1 * noise.size
    ((part, _),) = read_all(codec, tmp_path / "x.cae")
    np.testing.assert_array_equal(part[..., 0], np.concatenate([noise, blank]))


def test_tiny_archives_are_the_reconstructions_in_a_few_bytes(codec, digits, tmp_path):
    path = tmp_path / "tiny.cae"
    report = codec.compress(digits, path, tiny=True, refinement_steps=2)
    ((part, _),) = read_all(codec, path)
    mse = np.square((part.astype(float) - digits) / 255).mean()
    assert report.mse == pytest.approx(mse)
    # Rounding costs about ROUNDING_SHARE of the error, and no more than half as much again.
    best = -codec.autoencoder_.score_samples(digits, refinement_steps=2).mean()
    assert best < mse < (1 + 1.5 * ROUNDING_SHARE) * best
    # 64 images, of which the records and the lane take some.
    assert report.num_bytes < 200 + 8 * 64
    with codec.open(path) as archive:
        np.testing.assert_array_equal(archive[7], part[7])


def test_tiny_images_must_be_of_the_size_and_go_with_no_bound(codec, digits, tmp_path):
    with pytest.raises(ImageError, match="28"):
        codec.compress(digits[:, :20], tmp_path / "x.cae", tiny=True)
    with pytest.raises(ParameterError, match="tiny must not be combined with max_error"):
        codec.compress(digits, tmp_path / "x.cae", tiny=True, max_error=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(19, 23, 3), (8, 8, 1)])
def test_integers_decode_as_the_network_does(monkeypatch, shape):
    monkeypatch.setattr("convae.jobs.codec.latents.ROUNDING_SHARE", 0.003)
    height, width, channels = shape
    places = np.random.default_rng(0).uniform(0.2, 0.8, (60, 2, channels))
    rows = np.arange(height)[:, np.newaxis, np.newaxis] / height
    columns = np.arange(width)[:, np.newaxis] / width
    distances = [(rows - y) ** 2 + (columns - x) ** 2 for y, x in places]
    images = np.exp(-20 * np.array(distances)).astype(np.float32)
    model = ConvAutoencoder(filters=(6, 10), latent_dim=4, epochs=60).fit(images)
    latents = fit_latent_codes(model, images, 0)
    codes = latents.codes(model.transform(images))
    assert codes.shape == (60, 4)
    assert 3 < np.abs(codes).max() <= 63
    synthesis = np.linalg.pinv(latents.analysis)
    expected = model.inverse_transform((codes @ synthesis + latents.mean).astype(np.float32))
    off = np.abs(latents.decoder.decode(codes) / 255 - expected)
    assert off.mean() < 0.004
    assert off.max() < 0.08


def test_latents_that_do_not_vary_get_one_code():
    images = np.full((20, 8, 8, 1), 90, np.uint8)
    model = ConvAutoencoder(filters=(2,), latent_dim=3, epochs=1).fit(images)
    latents = fit_latent_codes(model, images, 0)
    codes = latents.codes(model.transform(images))
    assert codes.shape[1] <= 3
    assert (latents.decoder.decode(codes) == latents.decoder.decode(codes[:1])).all()


def test_batches_are_taken_one_at_a_time(codec, digits, tmp_path):
    def batches():
        yield digits[:3], ["a", "b", "c"]
        yield digits[:2, :20], ["d", "e"]

    report = codec.compress(batches(), tmp_path / "x.cae")
    assert report.num_images == 5
    parts = read_all(codec, tmp_path / "x.cae")
    assert [names for _, names in parts] == [("a", "b", "c"), ("d", "e")]
    np.testing.assert_array_equal(parts[1][0], digits[:2, :20])
    assert codec.compress(iter([]), tmp_path / "empty.cae").num_images == 0


def test_a_million_small_images_would_not_be_held_at_once(codec, digits, tmp_path):
    seen = []

    def batches():
        for index in range(3):
            seen.append(index)
            yield digits, ()
            assert len(seen) == index + 1

    codec.compress(batches(), tmp_path / "x.cae")
    assert seen == [0, 1, 2]


@pytest.mark.parametrize("tiny", [False, True])
def test_an_archive_can_be_continued(codec, digits, tmp_path, full_disk, tiny):
    path, whole = tmp_path / "x.cae", tmp_path / "whole.cae"
    names = [f"{index}.png" for index in range(64)]
    codec.compress(digits[:30], path, names=names[:30], tiny=tiny, with_model=True)
    report = codec.compress(digits[30:], path, names=names[30:], tiny=tiny, append=True)
    batches = ((digits[part], names[part]) for part in (slice(0, 30), slice(30, 64)))
    expected = codec.compress(batches, whole, tiny=tiny, with_model=True)
    assert path.read_bytes() == whole.read_bytes()
    assert dataclasses.replace(report, mse=0) == dataclasses.replace(expected, mse=0)
    assert (report.num_images, report.mse > 0) == (64, tiny)
    with pytest.raises(ParameterError, match=f"same tiny setting; received tiny={not tiny}"):
        codec.compress(digits, path, tiny=not tiny, append=True)
    with full_disk(1000), pytest.raises(OutputError):
        codec.compress(digits, path, tiny=tiny, append=True)
    with pytest.raises(ParameterError, match=r"must occur once in an archive; received '31.png'"):
        codec.compress(digits[:2], path, names=["31.png", "64.png"], tiny=tiny, append=True)
    with pytest.raises(ModelFileError, match="must be readable"):
        codec.compress(digits, tmp_path / "none.cae", tiny=tiny, append=True)
    assert path.read_bytes() == whole.read_bytes()
    assert sorted(tmp_path.iterdir()) == [whole, path]


def test_colors_and_16_bits_are_learned(monkeypatch, tmp_path):
    learn_in_steps(monkeypatch, 150)
    tiny = ConvAutoencoder(filters=(2,), latent_dim=2, epochs=1)
    color = smooth_images(12, 12, 12, 3)
    deep = smooth_images(12, 12, 12, 1, np.uint16)
    for images, given in ((color, color), (deep, deep / 65_535)):
        codec = ImageCodec(tiny).fit(given.astype(np.float32) if given is not images else given)
        assert codec.contexts_.channels == images.shape[3]
        assert codec.contexts_.bits == 8 * images.itemsize
        codec.compress(images, tmp_path / "x.cae")
        with codec.open(tmp_path / "x.cae") as archive:
            assert [block.kind.method for block in archive.blocks()] == [Method.CONTEXTS]
            np.testing.assert_array_equal(np.stack(list(archive)), images)


def test_each_plane_is_coded_as_is_shorter_on_images_held_out(monkeypatch):
    learn_in_steps(monkeypatch, 120)
    random = np.random.default_rng(0)
    # Slopes of any brightness, beside a plane of few values in any order.
    slopes = random.integers(0, 60, (60, 1, 1)) + np.arange(12) * random.integers(
        1, 14, (60, 12, 1)
    )
    few = np.array([3, 77, 200])[random.integers(0, 3, (60, 12, 12))]
    images = np.stack([slopes, few], axis=-1).astype(np.uint8)
    steps = []
    model, trials = fit_contexts(
        Tiles.of(images), 8, 0, lambda done, total: steps.append((done, total))
    )
    assert model.by_distance == [0]
    assert trials[0][1] < 0.8 * trials[0][0]
    assert trials[1][0] < 0.8 * trials[1][1]
    assert steps == [(done, 720) for done in range(1, 721)]


def test_smooth_values_of_16_bits_are_coded_by_distance(monkeypatch):
    learn_in_steps(monkeypatch, 200)
    random = np.random.default_rng(0)
    start, steps = random.integers(0, 9000, (60, 1, 1)), random.integers(0, 90, (60, 12, 12))
    images = (start + steps.cumsum(axis=1).cumsum(axis=2)).astype(np.uint16)[..., np.newaxis]
    model, trials = fit_contexts(Tiles.of(to_planes(images)), 16, 0)
    assert 1 in model.by_distance
    assert trials[1][1] < 0.9 * trials[1][0]


def test_pixels_are_learned_from_the_pictures_that_are_given(monkeypatch, tmp_path):
    learn_in_steps(monkeypatch, 60)
    large = smooth_images(3, 50, 40, 3)
    small = large[:, ::4, ::4].mean(axis=3).astype(np.uint8)
    tiny = ConvAutoencoder(filters=(2,), latent_dim=2, epochs=1)
    codec = ImageCodec(tiny).fit(small, pictures=[(large, ())])
    assert codec.autoencoder_.architecture_.channels == 1
    assert codec.contexts_.channels == len(codec.trials_) == 3
    codec.compress(large, tmp_path / "x.cae")
    with codec.open(tmp_path / "x.cae") as archive:
        assert {block.kind.method for block in archive.blocks()} == {Method.CONTEXTS}
        np.testing.assert_array_equal(np.stack(list(archive)), large)


def test_a_network_that_is_too_large_to_decode_is_refused_before_it_is_trained(monkeypatch):
    monkeypatch.setattr(ConvAutoencoder, "fit", lambda *_, **__: pytest.fail("trained in vain"))
    images = np.zeros((2, 1024, 1024, 1), np.uint8)
    with pytest.raises(ParameterError, match=r"received images of 1024 x 1024 x 1 and filters"):
        ImageCodec(ConvAutoencoder(filters=(64,) * 4)).fit(images)


def test_one_image_alone_is_coded_by_its_latents(fitted, digits, monkeypatch, tmp_path):
    learn_in_steps(monkeypatch, 3)
    codec = ImageCodec(fitted).fit(digits[:1])
    codec.compress(digits[:1], tmp_path / "x.cae", tiny=True)
    with codec.open(tmp_path / "x.cae") as archive:
        found = archive[0] / 255.0
    rebuilt = fitted.reconstruct(digits[:1], refinement_steps=4)
    np.testing.assert_allclose(found, rebuilt[0], atol=0.02)


def test_one_image_alone_is_learned_from(monkeypatch):
    learn_in_steps(monkeypatch, 2)
    model, trials = fit_contexts(Tiles.of(smooth_images(1, 12, 12, 1)), 8, 0)
    assert len(trials) == len(model.networks) == 1


def test_a_fitted_autoencoder_is_kept_and_other_jobs_with_it(
    codec, detector, detector_path, tmp_path
):
    assert codec.autoencoder_ is codec.autoencoder
    both = tmp_path / "both.safetensors"
    loaded = ConvAutoencoder.load(detector_path)
    keeping = ImageCodec(loaded)
    keeping.autoencoder_ = loaded
    latents = codec.latents_
    latents = dataclasses.replace(latents, analysis=latents.analysis[:4], mean=latents.mean[:4])
    keeping.contexts_, keeping.latents_ = random_model(), latents
    keeping.save(both)
    images = smooth_images(3, 28, 28, 1)
    np.testing.assert_array_equal(
        AnomalyDetector.load(both).score_samples(images), detector.score_samples(images)
    )
    assert ImageCodec.load(both).contexts_.identity == random_model().identity


def test_a_model_without_a_codec_says_how_to_make_one(model_path):
    with pytest.raises(ModelFileError, match="convae train IMAGES --for codec"):
        ImageCodec.load(model_path)


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((2, 8, 8), np.float32),
        np.zeros((2, 8, 8, 5), np.uint8),
        np.zeros((8, 8), np.uint8),
        np.zeros((0, 8, 8), np.uint8),
        np.zeros((2, 8, 8), np.int64),
    ],
)
def test_what_cannot_be_compressed_is_refused_and_nothing_is_written(codec, tmp_path, bad):
    with pytest.raises(ImageError, match="Images to compress must be uint8 or uint16"):
        codec.compress(bad, tmp_path / "x.cae")
    assert list(tmp_path.iterdir()) == []


def test_other_misuse_is_refused(codec, digits, tmp_path, full_disk):
    with pytest.raises(NotFittedError):
        ImageCodec().compress(digits, tmp_path / "x.cae")
    for bad in (-1, 128, 1.5):
        with pytest.raises(ParameterError, match="max_error must be"):
            codec.compress(digits, tmp_path / "x.cae", max_error=bad)
    with pytest.raises(ParameterError, match="as many names as images; received 2 for 64"):
        codec.compress(digits, tmp_path / "x.cae", names=["a", "b"])
    with full_disk(1000), pytest.raises(OutputError):
        codec.compress(digits, tmp_path / "x.cae")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("by_distance", [False, True])
def test_what_is_trained_costs_what_the_integers_code(digits, by_distance):
    sampler = ContextSampler(Tiles.of(digits), 0, 0)
    tables = train_contexts(lambda: sampler.draw(256), 0, 1, 20, 0, by_distance=by_distance)
    batch = sampler.draw(500)
    network = ContextNetwork(0, 1, tables, exponentials(), by_distance)
    model = _ContextModel(0, 1)
    for name, table in tables.items():
        model.weights_by_name[name].assign(table / convae.nn.contexts.SCALES[name])
    nats = keras.ops.convert_to_numpy(model(model_inputs(batch, 0, by_distance, 8)))
    bits = bits_a_byte(network, batch)
    assert 1 < bits < 8
    # Distances between logits are cut to 1/64, and no value has a share of nothing.
    found = np.average(nats, weights=batch.weights) / np.log(2)
    assert bits == pytest.approx(found, abs=0.02, rel=0.01)


def test_few_images_are_not_learned_by_heart(digits, monkeypatch):
    learn_in_steps(monkeypatch, 500)
    monkeypatch.setattr("convae.jobs.codec.pixels.TRIAL_STEPS", 20)
    others = ContextSampler(Tiles.of(digits[30:]), 0, 1).draw(20_000)

    def bits() -> float:
        model, _ = fit_contexts(Tiles.of(digits[:30]), 8, 0)
        return bits_a_byte(model.networks[0], others)

    found = bits()
    monkeypatch.setattr("convae.jobs.codec.pixels.LARGEST_DECAY", 0.0)
    assert found < 0.9 * bits()


def test_drawn_contexts_are_those_of_the_images():
    planes = smooth_images(4, 9, 11, 3, seed=2)
    planes[0] = 50
    batch = ContextSampler(Tiles.of(planes), 1, 0).draw(2000)
    assert batch.inputs.shape == (3, 41, 2000)
    assert set(batch.weights) == {1, FLAT_RARITY}
    windows = batch.inputs.transpose(2, 0, 1)
    flat = (windows[:, :, :40] == windows[:, :, :1]).all(axis=(1, 2))
    np.testing.assert_array_equal(batch.weights, np.where(flat, FLAT_RARITY, 1))
    assert (windows[:, 1:, 40] == 0).all()
    # Left neighbors are at most 3 away, but for those outside and those in the first row.
    left = windows[:, 1, 0].astype(int)
    near = np.abs(left - batch.values) <= 3
    assert near[(batch.rows > 1) & (batch.columns > 1)].all()


def test_the_archive_of_one_machine_is_read_by_number(codec, digits, tmp_path):
    codec.compress(digits, tmp_path / "x.cae", names=[f"{index}" for index in range(64)])
    with ImageArchive(tmp_path / "x.cae", [codec.contexts_]) as archive:
        assert [name for _, names in archive.read() for name in names][63] == "63"
