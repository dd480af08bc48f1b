"""New images: `LatentSampler`, and the verb `sample`."""

import json

import numpy as np
import pytest
from PIL import Image

from convae import ConvAutoencoder, LatentSampler, load_model
from convae.errors import ImageError, ModelFileError, OutputError, ParameterError
from convae.images import read_image, write_image
from convae.jobs.sample.mixture import Mixture
from convae.storage.modelfile import FittedJob


@pytest.fixture(scope="module")
def sampler(fitted, digits):
    """A sampler of `fitted`; tests must not change it."""
    return LatentSampler(fitted).fit(digits)


@pytest.fixture(scope="module")
def sampler_path(sampler, tmp_path_factory):
    """The model file of `sampler`."""
    path = tmp_path_factory.mktemp("sampler") / "model.safetensors"
    sampler.save(path)
    return path


def mixture_of(*components):
    weights, means, factors = (np.array(part, np.float64) for part in zip(*components, strict=True))
    return Mixture(weights, means, factors)


def test_samples_have_the_moments_of_the_latents(sampler, fitted, digits):
    """A mixture of full Gaussians keeps mean and covariance, but for the least variance."""
    latents = fitted.transform(digits).astype(np.float64)
    drawn = sampler.mixture_.draw(200_000, np.random.default_rng(0))
    spread = latents.std(axis=0)
    np.testing.assert_allclose(drawn.mean(axis=0), latents.mean(axis=0), atol=0.02 * spread.max())
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(latents.T), atol=0.05 * spread.max() ** 2)
    mean, deviation = sampler.mixture_.spread()
    np.testing.assert_allclose(mean, drawn.mean(axis=0), atol=0.02 * spread.max())
    np.testing.assert_allclose(deviation, drawn.std(axis=0), rtol=0.02)


@pytest.mark.parametrize(("num_images", "told"), [(19, True), (20, False)])
def test_too_few_images_for_two_components_are_told(fitted, digits, num_images, told):
    described = LatentSampler(fitted).fit(digits[:num_images]).describe()
    line = "  too few images to try more than one: 20 of them are needed"
    assert (line in described.lines) == told
    tried = described.figures["log_likelihoods"]
    assert list(tried) == (["1"] if told else ["1", "2"])


def test_two_groups_become_two_components():
    """Images that are black or white, with a little noise: one Gaussian would give gray."""
    random = np.random.default_rng(0)
    levels = np.where(random.random(120) < 0.25, 220, 30)
    images = np.clip(levels[:, np.newaxis, np.newaxis] + random.normal(0, 8, (120, 8, 8)), 0, 255)
    sampler = LatentSampler(ConvAutoencoder(filters=(4,), latent_dim=2, epochs=40, seed=0))
    sampler.fit(images.astype(np.uint8))
    assert len(sampler.mixture_.weights) >= 2
    tried = sampler.log_likelihoods_
    assert tried[len(sampler.mixture_.weights)] == max(tried.values()) > tried[1] + 0.2
    means = sampler.sample(2_000, seed=3).mean(axis=(1, 2)) * 255
    assert ((means > 90) & (means < 160)).mean() < 0.05
    assert (means > 125).mean() == pytest.approx((levels > 125).mean(), abs=0.05)


def test_the_same_seed_gives_the_same_images(sampler, sampler_path):
    first = sampler.sample(5, seed=7)
    assert (first.shape, first.dtype) == ((5, 28, 28, 1), np.float32)
    assert (first >= 0).all()
    assert (first <= 1).all()
    again = load_model(sampler_path).job("sampling")
    np.testing.assert_array_equal(first, again.sample(5, seed=7))
    np.testing.assert_array_equal(first, LatentSampler.load(sampler_path).sample(5, seed=7))
    assert not np.array_equal(first, sampler.sample(5, seed=8))


def test_between_two_images_are_both_and_what_lies_between(sampler, digits):
    found = sampler.interpolate(digits[0], digits[1], 5)
    # One at a time: refining makes a difference in rounding larger.
    latents = np.concatenate(
        [sampler.autoencoder_.transform(digits[[index]], refinement_steps=4) for index in (0, 1)]
    )
    shares = np.array([[0], [0.25], [0.5], [0.75], [1]])
    expected = sampler.autoencoder_.inverse_transform(
        (1 - shares) * latents[0] + shares * latents[1]
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_traversing_changes_one_number_over_its_usual_range(sampler, digits):
    decode = sampler.autoencoder_.inverse_transform
    mean, deviation = sampler.mixture_.spread()
    found = sampler.traverse(2, num_images=3)
    for image, steps in zip(found, (-2.5, 0, 2.5), strict=True):
        latents = mean.copy()
        latents[2] += steps * deviation[2]
        np.testing.assert_allclose(image, decode(latents[np.newaxis])[0], atol=1e-5)
    around = sampler.autoencoder_.transform(digits[:1], refinement_steps=4)
    around[0, 2] = mean[2] - 2.5 * deviation[2]
    found = sampler.traverse(2, digits[0], 3)
    np.testing.assert_allclose(found[0], decode(around)[0], atol=1e-5)


def test_variations_go_from_the_image_to_new_ones_of_its_kind(sampler, digits):
    rebuilt = sampler.autoencoder_.reconstruct(digits[:1], refinement_steps=4)
    far = [
        np.square(sampler.vary(digits[0], 200, strength) - rebuilt).mean()
        for strength in (0, 0.3, 0.6, 1)
    ]
    assert far[0] < 1e-10
    assert far == sorted(far)


def test_a_variation_keeps_the_spread_of_its_component():
    mixture = mixture_of((0.5, [0.0], [[1.0]]), (0.5, [9.0], [[2.0]]))
    assert mixture.nearest(np.array([1.0])) == 0
    assert mixture.nearest(np.array([7.0])) == 1
    drawn = mixture.around(
        np.ones(50_000, np.intp), np.random.default_rng(0).normal(size=(50_000, 1))
    )
    assert drawn.mean() == pytest.approx(9, abs=0.05)
    assert drawn.std() == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("count", [1, 2, 12])
def test_few_or_equal_images_can_be_fitted(fitted, digits, count):
    few = LatentSampler(fitted).fit(digits[:count])
    assert len(few.mixture_.weights) == 1
    assert np.isfinite(few.sample(3)).all()
    equal = LatentSampler(fitted).fit(np.repeat(digits[:1], count, axis=0))
    rebuilt = fitted.reconstruct(digits[:1])
    np.testing.assert_allclose(equal.sample(2), rebuilt.repeat(2, axis=0), atol=1e-5)


def test_copies_do_not_choose_more_components(fitted, digits):
    """Copies on both sides of the split would praise a mixture that knows them by heart."""
    alone = LatentSampler(fitted).fit(digits)
    doubled = LatentSampler(fitted).fit(np.repeat(digits, 4, axis=0))
    assert len(doubled.mixture_.weights) <= 2 * len(alone.mixture_.weights)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s, _: s.sample(0), "num_images must be from 1 to"),
        (lambda s, _: s.sample(1, seed=-1), "seed must be from 0 to"),
        (lambda s, _: s.traverse(6), "index must be from 0 to 5"),
        (lambda s, _: s.traverse(0, num_images=1), "num_images must be from 2 to"),
        (lambda s, x: s.interpolate(x, x, 1), "num_images must be from 2 to"),
        (lambda s, x: s.vary(x, strength=1.5), "strength must be from 0 to 1; received 1.5"),
        (lambda s, x: s.vary(x, strength=float("nan")), "strength must be from 0 to 1; received n"),
    ],
)
def test_numbers_out_of_range_are_refused(sampler, digits, call, message):
    with pytest.raises(ParameterError, match=message):
        call(sampler, digits[0])


@pytest.mark.parametrize("image", [np.zeros((9, 9, 1), np.uint8), np.full((28, 28, 1), np.nan)])
def test_images_that_do_not_fit_are_refused(sampler, image):
    with pytest.raises(ImageError):
        sampler.vary(image)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": np.array([0.5])}, "weights must add up to 1; received 0.5"),
        ({"weights": np.zeros(0)}, "weights must be a float64 array of shape"),
        ({"means": np.zeros((1, 5))}, "means must be a float64 array of shape"),
        ({"means": np.full((1, 6), 1e31)}, "means must hold numbers from"),
        ({"factors": np.ones((1, 6, 6))}, "factors must be lower triangles"),
        ({"factors": -np.eye(6)[np.newaxis]}, "factors must be lower triangles"),
        ({"more": np.zeros(1)}, "must be 3 tables; received 4"),
        (
            {
                "weights": np.full(1_025, 1 / 1_025),
                "means": np.zeros((1_025, 6)),
                "factors": np.zeros((1_025, 6, 6)),
            },
            "at most 1,024 components; received 1,025",
        ),
    ],
)
def test_tables_of_a_stranger_are_checked(changes, message):
    tables = {"weights": np.ones(1), "means": np.zeros((1, 6)), "factors": np.zeros((1, 6, 6))}
    with pytest.raises(ModelFileError, match=message):
        Mixture.from_job(FittedJob({}, {**tables, **changes}), 6, "x")


@pytest.mark.parametrize(
    ("settings", "owners", "message"),
    [
        ({"a": 1}, None, "a list of labels or no settings; received {'a': 1}"),
        ({"labels": "ab"}, None, "a list of labels or no settings"),
        ({"labels": []}, None, "must be 1 to 1,024 labels; received 0"),
        ({"labels": ["a"] * 1_025}, None, "must be 1 to 1,024 labels; received 1,025"),
        ({"labels": ["a", 1]}, None, "must be a text of at most 200 characters"),
        ({"labels": ["a", "b" * 201]}, None, "must be a text of at most 200 characters"),
        ({"labels": ["a", "a"]}, np.array([0, 1]), "The labels of a sampler must differ"),
        ({"labels": ["a", "b"]}, None, "must be 4 tables; received 3"),
        ({"labels": ["a", "b"]}, np.array([0, 2]), "owners must hold numbers from"),
        ({"labels": ["a", "b"]}, np.array([0, 0]), "Each label must have a component"),
        ({"labels": ["a", "b"]}, np.array([0.0, 1.0]), "owners must be an? int64 array"),
        ({}, np.array([0, 1]), "must be 3 tables; received 4"),
    ],
)
def test_labels_of_a_stranger_are_checked(settings, owners, message):
    tables = {"weights": np.full(2, 0.5), "means": np.zeros((2, 6)), "factors": np.zeros((2, 6, 6))}
    if owners is not None:
        tables["owners"] = owners
    with pytest.raises(ModelFileError, match=message):
        Mixture.from_job(FittedJob(settings, tables), 6, "x")


@pytest.fixture(scope="module")
def labeled():
    """Black images, labeled 3, and twice as many white ones, labeled 7; with a little noise."""
    random = np.random.default_rng(0)
    labels = np.array([3, 7, 7] * 40)
    levels = np.where(labels == 3, 30, 220).reshape(-1, 1, 1, 1)
    images = np.clip(levels + random.normal(0, 8, (120, 8, 8, 1)), 0, 255).astype(np.uint8)
    network = ConvAutoencoder(filters=(4,), latent_dim=2, epochs=40, seed=0)
    return LatentSampler(network, by_label=True).fit(images, labels), images, labels


def test_each_label_has_images_of_its_own(labeled, tmp_path):
    sampler, images, labels = labeled
    assert sampler.labels == ("3", "7")
    assert sampler.describe().figures["labels"] == ["3", "7"]
    dark, bright = (sampler.sample(200, seed=1, label=label).mean(axis=(1, 2, 3)) for label in "37")
    assert dark.max() < 0.4 < 0.6 < bright.min()
    both = sampler.sample(3_000, seed=2).mean(axis=(1, 2, 3))
    assert (both > 0.5).mean() == pytest.approx(2 / 3, abs=0.04)
    sampler.save(tmp_path / "x.safetensors")
    for again in (
        LatentSampler.load(tmp_path / "x.safetensors"),
        load_model(tmp_path / "x.safetensors").job("sampling"),
    ):
        np.testing.assert_array_equal(again.sample(5, label="7"), sampler.sample(5, label="7"))
    together = LatentSampler(sampler.autoencoder_).fit(images, labels)
    assert together.labels == ()
    # One image of a kind is enough.
    few = LatentSampler(sampler.autoencoder_, by_label=True).fit(images[:5], list("abcda"))
    assert np.isfinite(few.sample(3, label="b")).all()


def test_labels_that_are_missing_or_unknown_are_refused(labeled, sampler):
    by_label, images, labels = labeled
    with pytest.raises(ParameterError, match="label must be one of 3, 7; received '8'"):
        by_label.sample(label=8)
    with pytest.raises(ParameterError, match="A label needs a sampler that was fitted by label"):
        sampler.sample(label=8)
    new = LatentSampler(by_label.autoencoder_, by_label=True)
    for wrong, message in (
        (None, "needs a label for each image; received none"),
        (labels[:-1], r"one label for each of the 120 images; received labels of shape \(119,\)"),
        (np.repeat("x" * 201, 120), "a text of at most 200 characters"),
        (np.arange(120) * 0.5, None),
    ):
        if message is None:
            assert len(new.fit(images, wrong).labels) == 120
            continue
        with pytest.raises(ParameterError, match=message):
            new.fit(images, wrong)
    # Before any training.
    with pytest.raises(ParameterError, match="needs a label for each image"):
        LatentSampler(ConvAutoencoder(epochs=100_000), by_label=True).fit(images)


def test_the_verb_writes_sheets_animations_arrays_and_folders(command, sampler_path, tmp_path):
    def run(*options):
        done = command("sample", sampler_path, *options, "--json")
        assert done.code == 0, done.err
        return json.loads(done.out)

    report = run("--out", tmp_path / "sheet.png")
    assert report == {"num_images": 100, "files": {"images": str(tmp_path / "sheet.png")}}
    assert read_image(tmp_path / "sheet.png").shape == (10 * 60 - 4, 10 * 60 - 4, 3)
    run("-n", 7, "--out", tmp_path / "x.npy", "--seed", 3)
    found = np.load(tmp_path / "x.npy")
    expected = load_model(sampler_path).job("sampling").sample(7, seed=3)
    np.testing.assert_array_equal(found, np.rint(expected * 255).astype(np.uint8))
    for name in ("x.gif", "x.apng"):
        run("-n", 7, "--out", tmp_path / name)
        with Image.open(tmp_path / name) as image:
            assert image.n_frames == 12
    run("-n", 11, "--out", tmp_path / "folder")
    names = sorted(path.name for path in (tmp_path / "folder").iterdir())
    assert names == [f"{index:02}.png" for index in range(11)]


def test_the_verb_goes_between_along_and_around_pictures(command, sampler_path, digits, tmp_path):
    for index in range(2):
        write_image(tmp_path / f"{index}.png", digits[index])
    sampler = load_model(sampler_path).job("sampling")
    one, two = tmp_path / "0.png", tmp_path / "1.png"
    for options, expected in (
        (("--between", one, two, "-n", 4), sampler.interpolate(digits[0], digits[1], 4)),
        (("--along", 3), sampler.traverse(3)),
        (("--along", 3, "--around", one), sampler.traverse(3, digits[0])),
        (("--around", one, "--strength", 0.2), sampler.vary(digits[0], 9, 0.2)),
    ):
        out = tmp_path / "out.npy"
        done = command("sample", sampler_path, *options, "--out", out, "--overwrite")
        assert done.code == 0, done.err
        np.testing.assert_array_equal(np.load(out), np.rint(expected * 255).astype(np.uint8))
    for options, shape in ((("--along", 3), (1, 9)), (("--around", one), (3, 3))):
        sheet = tmp_path / "sheet.png"
        command("sample", sampler_path, *options, "--out", sheet, "--overwrite")
        sides = tuple(60 * side - 4 for side in shape)
        assert read_image(sheet).shape[:2] == sides


def test_the_verb_refuses_what_it_cannot_do_and_writes_nothing(
    command, sampler_path, model_path, tmp_path
):
    out = tmp_path / "out.png"
    (tmp_path / "mine.png").write_bytes(b"mine")
    before = sorted(tmp_path.iterdir())
    for arguments, message in (
        ((model_path, "--out", out), "must hold a sampler; received a model without one. Make one"),
        ((sampler_path, "--out", tmp_path / "out.jpg"), "a sheet (.png), an animation"),
        ((sampler_path, "--out", tmp_path / "mine.png"), "mine.png exists"),
        ((sampler_path, "--out", out, "-n", 0), "num_images must be from 1"),
        ((sampler_path, "--out", out, "-n", 10_001), "at most 10,000 images; received 10,001"),
        ((sampler_path, "--out", out, "--strength", 0.1), "--strength with --around"),
        ((sampler_path, "--out", out, "--along", 6), "index must be from 0 to 5"),
        ((sampler_path, "--out", out, "--around", tmp_path / "none.png"), "none.png"),
        ((sampler_path, "--out", out, "--around", tmp_path / "mine.png"), "mine.png"),
    ):
        done = command("sample", *arguments)
        assert (done.code, done.out) == (1, ""), arguments
        assert message in done.err
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "mine.png").read_bytes() == b"mine"


def test_a_training_adds_a_sampler_to_the_file(command, digits, tmp_path):
    for index, image in enumerate(digits[:30]):
        write_image(tmp_path / "pictures" / f"{index:02}.png", image)
    options = ("--for", "sampling", "--epochs", 2, "--filters", "4", "--latent-dim", 4)
    done = command("train", tmp_path / "pictures", *options, "--out", tmp_path / "out", "--json")
    report = json.loads(done.out)["jobs"]["sampling"]
    assert report["components"] == len(
        load_model(tmp_path / "out" / "model.safetensors").job("sampling").mixture_.weights
    )
    assert report["log_likelihoods"][str(report["components"])] == max(
        report["log_likelihoods"].values()
    )


def test_folders_are_labels(command, digits, tmp_path):
    for index, image in enumerate(digits[:24]):
        write_image(tmp_path / "pictures" / "ab"[index % 2] / f"{index:02}.png", image)
    network = ("--epochs", 2, "--filters", "4", "--latent-dim", 4)
    options = (*network, "--for", "sampling", "--by-label", "--out", tmp_path / "out")
    done = command("train", tmp_path / "pictures", *options, "--json")
    assert json.loads(done.out)["jobs"]["sampling"]["labels"] == ["a", "b"]
    model, out = tmp_path / "out" / "model.safetensors", tmp_path / "x.npy"
    assert command("sample", model, "--label", "b", "-n", 3, "--out", out).code == 0
    expected = load_model(model).job("sampling").sample(3, label="b")
    np.testing.assert_array_equal(np.load(out), np.rint(expected * 255).astype(np.uint8))
    for wrong, message in (
        (("--label", "c"), "label must be one of a, b; received 'c'"),
        (("--label", "a", "--along", 1), "--label must go with new images alone"),
    ):
        done = command("sample", model, *wrong, "--out", tmp_path / "y.png")
        assert (done.code, done.out) == (1, "")
        assert message in done.err
    write_image(tmp_path / "pictures" / "alone.png", digits[0])
    done = command("train", tmp_path / "pictures", *options, "--overwrite")
    assert done.code == 1
    assert "needs a label for each image; received none" in done.err


def test_a_sampler_that_was_not_fitted_and_a_place_that_is_taken_are_refused(tmp_path):
    with pytest.raises(Exception, match="not fitted yet"):
        LatentSampler().sample()
    from convae import check_samples_path

    (tmp_path / "3.png").write_bytes(b"")
    check_samples_path(tmp_path, 3, overwrite=False)
    with pytest.raises(OutputError, match=r"3\.png exists"):
        check_samples_path(tmp_path, 4, overwrite=False)
