import numpy as np
import pytest

from convae import ConvAutoencoder, load_dataset
from convae.autoencoder.augmentation import FEWEST_COMPARED, MOST_RELIT, choose_augmentation
from convae.images.distortion import Distortion
from convae.images.selection import Selection


def chosen(images):
    return choose_augmentation(Selection.of(images), seed=0)


@pytest.fixture(scope="module")
def landscapes():
    """A bright band on each of 300 images, that may lie anywhere and lean to either side."""
    random = np.random.default_rng(0)
    down, right = np.mgrid[-1:1:20j, -1:1:24j]
    found = []
    for _ in range(300):
        lean, height, width = random.uniform(-1, 1), random.uniform(-0.8, 0.8), random.uniform(5, 9)
        band = np.exp(-np.square(width * (down - height - lean * right)))
        found.append(band * random.uniform(0.6, 1))
    return np.array(found, np.float32)[..., None]


def test_digits_of_coarse_squares_stay_as_they_are():
    """Those embedded in scikit-learn have 8 by 8 values, and nothing in between."""
    found = chosen(load_dataset("digits").train[:400])
    assert found.distortion == Distortion()
    assert 0 < max(found.worth.values()) < 0.3
    assert found.num_held_out == 100
    assert found.told().startswith("training images are met with no distortion; on 100 held-out im")


def test_smooth_images_that_look_alike_from_both_sides_are_warped_and_flipped(landscapes):
    found = chosen(landscapes)
    assert found.distortion == Distortion(translation=1, warp=1.0, flip="both")
    assert found.told().startswith(
        "training images are met with shifts of up to 1 pixel, mild warps, both flips; on 75 held-"
    )


def test_what_leans_to_one_side_is_not_flipped(landscapes):
    columns = np.linspace(0, 0.3, landscapes.shape[2], dtype=np.float32)
    found = chosen(np.clip(landscapes * 0.7 + columns[:, None], 0, 1))
    assert found.distortion.flip == "vertical"
    assert found.worth["horizontal flip"] < found.worth["vertical flip"]


def test_images_that_differ_in_light_are_met_in_other_light(landscapes):
    """As far as half of their own differences, and of other tint if they differ in tint."""
    random = np.random.default_rng(1)
    gray = landscapes * 0.5 + random.normal(0.25, 0.08, (300, 1, 1, 1)).astype(np.float32)
    found = chosen(np.clip(gray, 0, 1))
    assert found.distortion.brightness == pytest.approx(0.04, abs=0.01)
    assert found.distortion.tint == 0
    color = gray + random.normal(0, 0.05, (300, 1, 1, 3)).astype(np.float32)
    found = chosen(np.clip(color, 0, 1))
    assert found.distortion.tint == pytest.approx(0.05 * np.sqrt(2 / 3), abs=0.01)
    assert "other brightness, other tints; on 75 held-out images" in found.told()
    # What is transparent is no darker.
    clear = np.concatenate([np.clip(color, 0, 1), random.random((300, 20, 24, 1))], axis=3)
    light = chosen(clear.astype(np.float32)).distortion
    assert light.brightness == pytest.approx(found.distortion.brightness, abs=0.003)


def test_many_images_keep_their_own_light(landscapes):
    random = np.random.default_rng(2)
    images = landscapes.repeat(14, axis=0)[: MOST_RELIT + 1, :8, :8] * 0.5
    lit = np.clip(images + random.normal(0.25, 0.1, (len(images), 1, 1, 1)), 0, 1)
    lit = lit.astype(np.float32)
    assert chosen(lit[:-1]).distortion.brightness == pytest.approx(0.05, abs=0.01)
    assert chosen(lit).distortion.brightness == 0


def test_shifts_grow_with_the_images():
    images = np.zeros((7, 112, 90, 3), np.uint8)
    assert chosen(images).distortion.translation == 4


def test_large_images_are_compared_at_a_small_size(landscapes):
    large = landscapes.repeat(4, axis=1).repeat(4, axis=2)[:100]
    found = chosen(large)
    assert found.distortion == Distortion(translation=3, warp=1.0, flip="both")
    assert found.worth["warp"] == pytest.approx(chosen(landscapes[:100]).worth["warp"], abs=0.2)


def test_too_few_images_to_tell_are_shifted_and_warped_and_that_is_said():
    images = load_dataset("digits").train[: FEWEST_COMPARED - 1]
    found = chosen(images)
    assert found.distortion == Distortion(translation=1, warp=1.0)
    assert found.worth == {}
    assert found.told().endswith("there are too few images to tell what suits them")


def test_equal_images_are_worth_nothing_when_distorted():
    found = chosen(np.full((20, 9, 9), 7, np.uint8))
    assert set(found.worth.values()) == {0.0}
    assert found.distortion == Distortion()


def test_what_is_given_stays_and_what_is_open_is_chosen(landscapes):
    small = {"filters": (4,), "latent_dim": 2, "epochs": 5}
    model = ConvAutoencoder(**small, translation=0, flip="vertical").fit(landscapes)
    assert model.augmentation_.distortion == Distortion(0, 1.0, "vertical")
    options = model.to_contents().training["options"]
    assert (options["translation"], options["warp"], options["flip"]) == (0, 1.0, "vertical")
    assert model.get_params()["warp"] is None
    settled = {"translation": 0, "warp": 0, "flip": "none", "brightness": 0, "tint": 0}
    given = ConvAutoencoder(**small, **settled).fit(landscapes)
    assert given.augmentation_ is None


def test_images_that_are_met_seldom_stay_as_they_are():
    digits = load_dataset("digits").train[:64]
    model = ConvAutoencoder(filters=(4,), latent_dim=2, epochs=4).fit(digits)
    assert model.augmentation_ is None
    assert model.to_contents().training["options"]["warp"] == 0


def test_distorted_images_are_met_for_more_steps(landscapes):
    images = Selection.of(landscapes[:64])
    model = ConvAutoencoder(filters=(4,), latent_dim=2, batch_size=64)
    assert model._training_options(images)[0].epochs == 2_000
    model.set_params(translation=0, warp=0, flip="none")
    assert model._training_options(images)[0].epochs == 1_000
