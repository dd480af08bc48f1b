import io

import numpy as np
import pytest
from PIL import Image

from convae import AnomalyDetector, ConvAutoencoder, Dataset, judge_training, load_dataset
from convae.images import copies
from convae.images.copies import copies_told, copy_groups, num_copies, one_of_each
from convae.images.selection import Selection, held_out_indices

TINY = {"filters": (4,), "latent_dim": 2, "epochs": 1}


def groups_of(images):
    return copy_groups(Selection.of(images))


def saved_anew(image):
    file = io.BytesIO()
    Image.fromarray(image[..., 0]).save(file, "JPEG", quality=60)
    return np.asarray(Image.open(file))[..., np.newaxis]


def moved(images):
    return np.concatenate([images[:, :, :1], images[:, :, :-1]], axis=2)


CHANGES = {
    "moved by a pixel": moved,
    "moved up": lambda images: np.concatenate([images[:, 1:], images[:, -1:]], axis=1),
    "brighter": lambda images: np.clip(images * 1.1 + 5, 0, 255).astype(np.uint8),
    "darker": lambda images: (images * 0.8).astype(np.uint8),
    "saved anew": lambda images: np.stack([saved_anew(image) for image in images]),
    "noisy": lambda images: np.clip(
        images + np.random.default_rng(0).normal(0, 8, images.shape), 0, 255
    ).astype(np.uint8),
}


@pytest.fixture(scope="module")
def some():
    """100 digits, no two of them alike."""
    return load_dataset("digits").train[:100]


@pytest.mark.parametrize("change", CHANGES)
def test_near_copies_are_found_and_nothing_else_is(some, change):
    groups = groups_of(np.concatenate([some, CHANGES[change](some)]))
    np.testing.assert_array_equal(groups[:100], np.arange(100))
    assert np.mean(groups[100:] == groups[:100]) >= 0.85
    assert num_copies(groups) == np.sum(groups[100:] == groups[:100])


def test_a_flipped_image_is_no_copy(some):
    groups = groups_of(np.concatenate([some, some[:, :, ::-1]]))
    assert num_copies(groups) <= 2  # a zero is like its mirror image


def test_digits_of_one_kind_are_alike_and_no_copies():
    digits = load_dataset("digits")
    for digit in range(10):
        assert num_copies(groups_of(digits.train[digits.train_labels == digit])) == 0


def test_equal_images_are_one_group_however_many(random_images):
    images = random_images(3, 9, 8, 3)[[0, 1, 0, 2, 1] * 30]
    np.testing.assert_array_equal(groups_of(images), [0, 1, 0, 3, 1] * 30)
    np.testing.assert_array_equal(groups_of(images / np.float32(255)), [0, 1, 0, 3, 1] * 30)


def test_flat_images_of_other_brightness_are_others():
    images = np.arange(0, 200, 10, dtype=np.uint8).repeat(64).reshape(20, 8, 8)
    np.testing.assert_array_equal(groups_of(images), np.arange(20))
    assert groups_of(images[:1]).tolist() == [0]


def test_one_scene_under_noise_has_no_copies(random_images):
    scene = np.kron(random_images(4, 4), np.ones((4, 4)))
    noise = np.random.default_rng(0).normal(0, 6, (300, 16, 16))
    images = np.clip(scene + noise, 0, 255).astype(np.uint8)
    assert num_copies(groups_of(images)) == 0


def test_a_chain_of_images_that_change_little_does_not_become_one_group():
    rows, columns = np.mgrid[:16, :16]
    turns = np.linspace(0, 6, 600)[:, None, None]
    away = (rows - 8 - 4 * np.sin(turns)) ** 2 + (columns - 8 - 4 * np.cos(turns)) ** 2
    groups = groups_of((255 * np.exp(-away / 6)).astype(np.uint8))
    assert np.bincount(groups).max() <= 2 * 20 + 1
    assert len(np.unique(groups)) > 20


@pytest.mark.parametrize("largest", [4_000, 150])
def test_copies_among_many_images_are_found_by_cells(random_images, monkeypatch, largest):
    monkeypatch.setattr(copies, "ALL_WITH_ALL", 500)
    monkeypatch.setattr(copies, "LARGEST_CELL", largest)
    # Some in a dense cloud, which one cell holds.
    images = random_images(1500, 8, 8) // np.repeat([1, 8], 750)[:, None, None].astype(np.uint8)
    images[750:] += random_images(8, 8, seed=1) // 2
    changed = images ^ 1
    groups = groups_of(np.concatenate([images, changed]))
    assert np.mean(groups[1500:] == np.arange(1500)) > 0.97
    assert num_copies(groups[:1500]) == 0


def test_the_groups_do_not_depend_on_how_many_images_are_read_at_a_time(some, monkeypatch):
    images = np.concatenate([some, moved(some)])
    groups = groups_of(images)
    monkeypatch.setattr("convae.images.memory.CHUNK_VALUES", 10_000)
    np.testing.assert_array_equal(groups_of(images), groups)


def test_a_selection_is_grouped_by_its_own_positions(some):
    chosen = Selection.of(some).take(np.array([7, 3, 7, 50, 3]))
    assert copy_groups(chosen).tolist() == [0, 1, 0, 3, 1]


def test_one_of_each_group_is_drawn_and_all_where_there_are_no_copies():
    groups = np.array([0, 1, 0, 3, 1, 5])
    found = {tuple(one_of_each(np.array([0, 1, 2, 4]), groups, seed)) for seed in range(30)}
    assert found == {(0, 1), (0, 4), (1, 2), (2, 4)}
    assert one_of_each(np.array([2, 4, 5]), np.arange(6), 0).tolist() == [2, 4, 5]


def test_copies_are_told_in_one_line():
    assert copies_told(1204) == (
        "1,204 images are copies or near-copies of others; they stay on one side of every split"
    )
    assert copies_told(1).startswith("1 image is a copy or near-copy of another; ")


def test_without_copies_the_same_images_are_held_out():
    for seed in range(5):
        np.testing.assert_array_equal(
            held_out_indices(1000, 0.15, seed, groups=np.arange(1000)),
            held_out_indices(1000, 0.15, seed),
        )


def test_a_single_copy_hardly_changes_what_is_held_out():
    groups = np.arange(1000)
    groups[999] = 0
    found = held_out_indices(1000, 0.2, 0, groups=groups)
    assert len(set(found) ^ set(held_out_indices(1000, 0.2, 0))) <= 3


def test_groups_are_held_out_whole_and_about_as_many():
    groups = np.tile(np.arange(100), 3)
    for seed in range(5):
        found = held_out_indices(300, 0.2, seed, groups=groups)
        assert len(found) == 60
        assert len(np.unique(groups[found])) == 20
        assert not set(groups[found]) & set(np.delete(groups, found))


def test_a_picture_that_is_common_is_not_held_out():
    groups = np.r_[np.zeros(100, int), np.arange(100, 1000)]
    for seed in range(20):
        found = held_out_indices(1000, 0.2, seed, groups=groups)
        assert found.min() >= 100
        assert len(found) == 180


@pytest.mark.parametrize(
    ("groups", "held_out"),
    [
        ([0, 0, 0, 3, 3, 3], [{0, 1, 2}, {3, 4, 5}]),
        ([0, 0, 0, 0, 0, 5], [{0, 1, 2, 3, 4}, {5}]),
        ([0, 0, 0, 0, 0, 0], [{0}, {1}, {2}, {3}, {4}, {5}]),
    ],
)
def test_few_groups_leave_one_on_each_side_and_a_single_one_is_parted(groups, held_out):
    found = [set(held_out_indices(6, 0.2, seed, groups=np.array(groups))) for seed in range(40)]
    assert {frozenset(one) for one in found} == {frozenset(one) for one in held_out}


def test_copies_are_on_one_side_of_the_validation(some):
    images = np.concatenate([some[:20], some[:20]])
    model = ConvAutoencoder(**TINY, validation_split=0.2).fit(images)
    held_out = model.validation_indices_
    assert model.num_copies_ == 20
    assert len(held_out) == 8
    assert not set(held_out % 20) & set(np.delete(np.arange(40), held_out) % 20)
    assert ConvAutoencoder(**TINY).fit(images).num_copies_ == 0


@pytest.mark.parametrize("change", [np.copy, CHANGES["noisy"]])
def test_no_copy_of_a_calibration_image_is_learned_and_one_of_each_counts(some, change):
    images = np.concatenate([some, change(some)])
    found = AnomalyDetector(ConvAutoencoder(**TINY), false_alarm_rate=0.1).fit(images)
    assert found.num_copies_ == 100
    reserved = found._reserved % 100
    assert len(found.scores_.reference_latents) + len(reserved) == 200
    assert not set(found.calibration_indices_ % 100) & set(
        np.delete(np.arange(200), found._reserved) % 100
    )
    assert len(reserved) == 40
    assert len(found.calibration_indices_) == len(np.unique(found.calibration_indices_ % 100)) == 20
    described = found.describe()
    assert described.figures["num_copies"] == found.num_copies_
    assert copies_told(found.num_copies_) in described.lines


def test_if_all_images_are_copies_the_user_is_told_that_no_split_parts_them():
    equal = np.full((12, 10, 10, 1), 200, np.uint8)
    found = AnomalyDetector(ConvAutoencoder(**TINY)).fit(equal)
    assert len(found.calibration_indices_) == 2
    _, supported, _, told = found.describe().lines[:4]
    assert supported == "  2 calibration images support false-alarm rates from 0.333"
    assert told.startswith("nearly all images are copies or near-copies")


def test_calibrating_anew_counts_copies_once(detector_path, zeros):
    found = AnomalyDetector.load(detector_path)
    found.calibrate(np.concatenate([zeros[1], moved(zeros[1])[:20], zeros[1][:9]]))
    assert len(found.calibration_.scores) == 51


def test_pca_does_not_see_copies_of_what_it_is_judged_on(some):
    for images in (some[:40], np.concatenate([some[:40]] * 2)):
        found = AnomalyDetector(ConvAutoencoder(**TINY)).fit(images)
        judged = judge_training(
            Dataset("some", images, None, None, None, "here"), found.autoencoder_, [found]
        )
        assert judged.figures["judged_on"] == "validation"
        assert judged.figures["pca_mse"] > 0.01
