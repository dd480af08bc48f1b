import pytest
from hypothesis import given
from hypothesis import strategies as st

from convae import ConvAutoencoder
from convae.architecture.plan import MOST_STAGES, Architecture
from convae.architecture.recipe import (
    LOSS_NAMES,
    MOST_EPOCHS,
    PRESETS,
    TrainingOptions,
    are_met_often,
    enough_epochs,
    filters_for,
)
from convae.errors import ParameterError

FAST = TrainingOptions(epochs=1)


def test_the_preset_fast_is_what_a_plain_autoencoder_does():
    defaults = ConvAutoencoder().get_params()
    assert defaults.pop("seed") == 0
    assert defaults == PRESETS["fast"]
    left_open = dict.fromkeys(("epochs", "translation", "warp", "flip", "brightness", "tint"))
    options = {**FAST.to_json(), **left_open, "fewest_epochs": 4}
    assert {name: defaults[name] for name in options if name != "seed"} == {
        name: value for name, value in options.items() if name != "seed"
    }


def test_the_reference_preset_never_changes():
    assert PRESETS["reference"] == {
        "filters": (32, 64),
        "latent_dim": 16,
        "encoder_passes": 1,
        "loss": "mse",
        "epochs": 20,
        "batch_size": 32,
        "optimizer": "adam",
        "learning_rate": 0.001,
        "learning_rate_schedule": "constant",
        "weight_decay": 0.0,
        "translation": 0,
        "warp": 0.0,
        "flip": "none",
        "brightness": 0.0,
        "tint": 0.0,
        "validation_split": 0.0,
        "patience": None,
        "recompute_statistics": False,
    }


def test_the_reference_network_has_178769_parameters():
    architecture = Architecture(28, 28, 1)
    assert architecture.num_parameters == 178_769
    assert architecture.volume == (7, 7, 64)


@given(
    st.builds(
        Architecture,
        height=st.integers(8, 70),
        width=st.integers(8, 70),
        channels=st.sampled_from([1, 3, 4]),
        filters=st.lists(st.integers(1, 40), min_size=1, max_size=6).map(tuple),
        latent_dim=st.integers(1, 50),
    )
)
def test_an_architecture_survives_json(architecture):
    assert Architecture.from_json(architecture.to_json()) == architecture


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"height": 7}, "height must be from 8 to 65536; received 7."),
        ({"width": 28.0}, "width must be a whole number from 8 to 65536; received 28.0."),
        ({"channels": 2}, "channels must be 1 (gray), 3 (RGB) or 4 (RGBA); received 2."),
        ({"channels": 5}, "channels must be from 1 to 4; received 5."),
        ({"channels": True}, "channels must be a whole number from 1 to 4; received True."),
        ({"filters": ()}, "filters must be a tuple of 1 to 11 whole numbers, one for each stage;"),
        ({"filters": 32}, "filters must be a tuple of 1 to 11 whole numbers, one for each stage;"),
        ({"filters": (32, 0)}, "each of filters must be from 1 to 65536; received 0."),
        ({"latent_dim": 900_000}, "A network may have at most 100,000,000 parameters; received"),
        ({"latent_dim": 0}, "latent_dim must be from 1 to 1048576; received 0."),
        ({"encoder_passes": 0}, "encoder_passes must be from 1 to 16; received 0."),
        (
            {"height": 4096, "width": 4096, "filters": (17,) * 8},
            "Between two layers of a network there may be at most 67,108,864 numbers for an "
            "image; received the numbers of one with 285,212,672: 4096 x 4096 x 1, filters (17,",
        ),
        # 65 rows are 1,025 doubled back; the last layer has nine products for each number.
        (
            {"height": 1025, "width": 65_536, "filters": (1,) * 4},
            "Between two layers of a network there may be at most 67,108,864 numbers for an "
            "image; received the numbers of one with 613,416,960: 1025 x 65536 x 1",
        ),
    ],
)
def test_an_architecture_outside_its_bounds_is_refused(changes, message):
    with pytest.raises(ParameterError) as refusal:
        Architecture(**{"height": 28, "width": 28, "channels": 1, **changes})
    assert str(refusal.value).startswith(message)


def test_images_of_thousands_of_pixels_a_side_are_within_the_bounds():
    large = Architecture(1440, 1440, 3, (32, 64, 128, 128), 3)
    assert large.largest_volume == 32 * 1440**2 <= 2**26
    # By default, the dense layers are what grows first.
    assert Architecture(868, 868, 3).largest_volume == 32 * 868**2


@pytest.mark.parametrize(
    "document",
    [None, [], {}, {"height": 8}, {**Architecture(8, 8, 1).to_json(), "more": 1}],
)
def test_json_that_is_no_architecture_is_refused(document):
    with pytest.raises(ParameterError, match="An architecture must have the keys"):
        Architecture.from_json(document)


def test_filters_in_json_must_be_a_list():
    document = {**Architecture(8, 8, 1).to_json(), "filters": "12"}
    with pytest.raises(ParameterError, match="filters must be a list; received '12'"):
        Architecture.from_json(document)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "l2"}, "loss must be one of mse, mae, bce, ssim; received 'l2'."),
        ({"loss": ["mse"]}, "loss must be one of mse, mae, bce, ssim; received ['mse']."),
        ({"epochs": 0}, "epochs must be from 1 to 5000; received 0."),
        ({"epochs": MOST_EPOCHS + 1}, "epochs must be from 1 to 5000; received 5001."),
        ({"batch_size": -1}, "batch_size must be from 1 to 65536; received -1."),
        ({"learning_rate": 0}, "learning_rate must be above 0.0 and below 1000000.0; received 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be above 0.0"),
        ({"learning_rate": "fast"}, "learning_rate must be a number; received 'fast'."),
        ({"optimizer": "sgd"}, "optimizer must be one of adam, muon; received 'sgd'."),
        ({"weight_decay": -0.1}, "weight_decay must be at least 0.0 and below 1.0; received -0.1."),
        ({"translation": 8}, "translation must be from 0 to 7; received 8."),
        ({"warp": 4.5}, "warp must be at least 0.0 and below 4.0"),
        ({"brightness": -0.1}, "brightness must be at least 0.0 and below 1.0"),
        ({"tint": 1.1}, "tint must be at least 0.0 and below 1.0"),
        ({"flip": "left"}, "flip must be one of none, horizontal, vertical, both; received 'left'"),
        ({"learning_rate_schedule": "step"}, "learning_rate_schedule must be one of constant, cos"),
        ({"validation_split": 1}, "validation_split must be at least 0.0 and below 1.0; received"),
        ({"patience": 3}, "patience needs validation images; received patience=3 with"),
        ({"patience": 0, "validation_split": 0.1}, "patience must be from 1 to 5000; received 0."),
        ({"recompute_statistics": 1}, "recompute_statistics must be True or False; received 1."),
        ({"seed": -1}, "seed must be from 0 to 9223372036854775807; received -1."),
    ],
)
def test_options_outside_their_bounds_are_refused(changes, message):
    with pytest.raises(ParameterError) as refusal:
        TrainingOptions(**{"epochs": 1, **changes})
    assert str(refusal.value).startswith(message)


def test_options_survive_json():
    options = TrainingOptions(
        epochs=3, translation=1, warp=4, flip="both", brightness=1, seed=2**40
    )
    assert TrainingOptions.from_json(options.to_json()) == options


@pytest.mark.parametrize("document", [None, {}, {"epochs": 3}, {**FAST.to_json(), "more": 1}])
def test_json_that_is_no_options_is_refused(document):
    with pytest.raises(ParameterError, match="Training options must have the keys"):
        TrainingOptions.from_json(document)


@pytest.mark.parametrize(
    ("num_images", "batch_size", "fewest", "epochs", "distorted"),
    [
        (1, 32, 4, 1000, 1032),
        (12, 32, 4, 1000, 1375),
        (32, 32, 4, 1000, 2000),
        (33, 32, 4, 500, 1000),
        (1600, 32, 4, 20, 40),
        (1600, 32, 30, 30, 60),
        (60_000, 32, 4, 4, 8),
        (60_000, 32, 20, 20, 40),
        (64, 1, 4, 16, 32),
        (64, 1, 4_000, 4_000, 5_000),
    ],
)
def test_few_images_are_seen_more_often(num_images, batch_size, fewest, epochs, distorted):
    assert enough_epochs(num_images, batch_size, fewest) == epochs
    assert enough_epochs(num_images, batch_size, fewest, distorted=True) == distorted


@pytest.mark.parametrize(
    ("num_images", "fewest", "epochs", "often"),
    [
        (1, 4, None, True),
        (15_000, 4, None, True),
        (16_000, 4, None, False),
        (60_000, 4, 20, False),
        (4_000, 15, None, True),
        (5_000, 15, None, False),
        (100, 4, 4, False),
        (100, 4, 5, True),
    ],
)
def test_images_that_are_met_often_can_be_told(num_images, fewest, epochs, often):
    assert are_met_often(num_images, 32, fewest, epochs) is often


@pytest.mark.parametrize(
    ("sides", "filters"),
    [
        ((8, 8), (32, 64)),
        ((28, 28), (32, 64)),
        ((29, 8), (16, 32, 64)),
        ((32, 32), (16, 32, 64, 128)),
        ((64, 44), (16, 32, 64, 128, 128)),
        ((128, 128), (16, 32, 64, 128, 128, 128)),
        ((8, 128), (16, 32, 64)),
    ],
)
def test_larger_images_get_more_stages_until_little_is_left(sides, filters):
    assert filters_for(*sides) == filters_for(*sides[::-1]) == filters
    assert min(Architecture(*sides, 1, filters).volume[:2]) >= 1


def test_the_largest_image_has_a_network():
    assert len(filters_for(65_536, 65_536)) == MOST_STAGES


@pytest.mark.parametrize("fewest", [0, MOST_EPOCHS + 1])
def test_the_fewest_epochs_are_bounded(fewest):
    with pytest.raises(ParameterError, match="fewest_epochs must be from 1 to 5000; received"):
        enough_epochs(10, 32, fewest)
    with pytest.raises(ParameterError, match="fewest_epochs must be from 1 to 5000; received"):
        are_met_often(10, 32, fewest, 20)


def test_the_fewest_epochs_are_checked_where_epochs_are_given(digits):
    model = ConvAutoencoder(filters=(4,), epochs=5, fewest_epochs="4")
    with pytest.raises(ParameterError, match="fewest_epochs must be"):
        model.fit(digits[:10])


def test_the_preset_best_differs_in_the_network_and_the_epochs():
    differing = {name for name, value in PRESETS["best"].items() if value != PRESETS["fast"][name]}
    assert differing == {"filters", "fewest_epochs"}


def test_every_loss_has_a_function():
    from convae.nn.losses import LOSSES

    assert tuple(LOSSES) == LOSS_NAMES
