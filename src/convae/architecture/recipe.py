"""How a network is trained, in numbers alone: options, and presets of them by name."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from convae.architecture.plan import MOST_STAGES, SMALLEST_SIDE
from convae.checks import fraction, one_of, whole_number
from convae.errors import ParameterError

# A record of each epoch stands in the header of the model file, which is bounded too.
MOST_EPOCHS = 5_000

LOSS_NAMES = ("mse", "mae", "bce", "ssim")
OPTIMIZER_NAMES = ("adam", "muon")
SCHEDULE_NAMES = ("constant", "cosine", "linear")
WITHOUT_FLIP = "none"
FLIPS = (WITHOUT_FLIP, "horizontal", "vertical", "both")
# An image that is shifted out of view teaches nothing.
LARGEST_TRANSLATION = SMALLEST_SIDE - 1
STRONGEST_WARP = 4.0

# Where the number of epochs is left open: a network that is trained for fewer steps shows nothing
# yet, so few images are seen more often.
FEWEST_STEPS = 1_000
# Images that are met more often than this are distorted, if that is left open.
MOST_ALIKE = 4

# Where filters are left open: MNIST's for images of its size; larger ones are halved until this
# little is left, with few filters where the image is large.
SMALL_FILTERS, SMALL_SIDE = (32, 64), 28
FIRST_FILTERS, MOST_FILTERS, LAST_SIDE = 16, 128, 2

# What `ConvAutoencoder()` does.
_FAST: dict[str, Any] = {
    "filters": None,
    "latent_dim": 16,
    "encoder_passes": 2,
    "loss": "mse",
    "epochs": None,
    "fewest_epochs": 4,
    "batch_size": 32,
    "optimizer": "muon",
    "learning_rate": 0.012,
    "learning_rate_schedule": "linear",
    "weight_decay": 0.04,
    "translation": None,
    "warp": None,
    "flip": None,
    "brightness": None,
    "tint": None,
    "validation_split": 0.0,
    "patience": None,
    "recompute_statistics": True,
}
# Recipes by name: keyword arguments of `ConvAutoencoder`. `reference` never changes.
PRESETS: dict[str, dict[str, Any]] = {
    "fast": _FAST,
    "best": {**_FAST, "filters": (32, 64, 128, 128), "fewest_epochs": 15},
    "reference": {
        "filters": (32, 64),
        "latent_dim": 16,
        "encoder_passes": 1,
        "loss": "mse",
        "epochs": 20,
        "batch_size": 32,
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "learning_rate_schedule": "constant",
        "weight_decay": 0.0,
        "translation": 0,
        "warp": 0.0,
        "flip": WITHOUT_FLIP,
        "brightness": 0.0,
        "tint": 0.0,
        "validation_split": 0.0,
        "patience": None,
        "recompute_statistics": False,
    },
}


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """A recipe for training, checked.

    Args:
        epochs: Passes over the training images, from 1 to 5,000.
        loss: "mse", "mae", "bce" (binary cross-entropy) or "ssim" (1 - SSIM).
        batch_size: Images per step.
        optimizer: "adam", or "muon" (orthogonalized momentum for kernels, Adam for the rest).
        learning_rate: Initial step size, above 0.
        learning_rate_schedule: "constant", or "cosine" or "linear" (down to 0 at the last step).
        weight_decay: Share of a weight that a step of size 1 would take away, 0 or more, below 1.
        translation: Largest number of pixels, from 0 to 7, by which an image is shifted at random,
            down or up and right or left, each time it is met.
        warp: Strength, from 0 to 4, of turns, scalings, shears and waves of half of the images.
        flip: "none", "horizontal", "vertical" or "both": how half of the images are flipped.
        brightness: Standard deviation, from 0 to 1, of what is added to all pixels of an image, for
            half of the images.
        tint: The same for each color of its own.
        validation_split: Fraction of the images held out to validate on, 0 or more, below 1.
        patience: Stop after this many epochs without a lower validation loss; None never stops.
        recompute_statistics: Recompute the statistics of batch normalization before validating and
            at the end, instead of trusting the moving averages (`convae.nn.statistics`).
        seed: Decides the first weights, the split and the order of the images.

    Raises:
        ParameterError: A value is outside its range.
    """

    epochs: int
    loss: str = "mse"
    batch_size: int = 32
    optimizer: str = "muon"
    learning_rate: float = 0.012
    learning_rate_schedule: str = "linear"
    weight_decay: float = 0.04
    translation: int = 0
    warp: float = 0.0
    flip: str = WITHOUT_FLIP
    brightness: float = 0.0
    tint: float = 0.0
    validation_split: float = 0.0
    patience: int | None = None
    recompute_statistics: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        def settle(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        one_of(self.loss, "loss", LOSS_NAMES)
        settle("epochs", whole_number(self.epochs, "epochs", 1, MOST_EPOCHS))
        settle("batch_size", whole_number(self.batch_size, "batch_size", 1, 65_536))
        settle(
            "learning_rate",
            fraction(self.learning_rate, "learning_rate", 0.0, 1e6, open_low=True),
        )
        one_of(self.optimizer, "optimizer", OPTIMIZER_NAMES)
        one_of(self.learning_rate_schedule, "learning_rate_schedule", SCHEDULE_NAMES)
        settle(
            "weight_decay", fraction(self.weight_decay, "weight_decay", 0.0, 1.0, open_low=False)
        )
        settle("translation", whole_number(self.translation, "translation", 0, LARGEST_TRANSLATION))
        for name, strongest in (("warp", STRONGEST_WARP), ("brightness", 1.0), ("tint", 1.0)):
            # Just above the strongest, which may be given.
            above = math.nextafter(strongest, math.inf)
            settle(name, fraction(getattr(self, name), name, 0.0, above, open_low=False))
        one_of(self.flip, "flip", FLIPS)
        settle(
            "validation_split",
            fraction(self.validation_split, "validation_split", 0.0, 1.0, open_low=False),
        )
        if self.patience is not None:
            settle("patience", whole_number(self.patience, "patience", 1, MOST_EPOCHS))
            if self.validation_split == 0:
                raise ParameterError(
                    f"patience needs validation images; received patience={self.patience} with "
                    f"validation_split=0. Set validation_split to 0.1, say."
                )
        if not isinstance(self.recompute_statistics, bool):
            raise ParameterError(
                f"recompute_statistics must be True or False; received "
                f"{self.recompute_statistics!r}. Pass one of them."
            )
        settle("seed", whole_number(self.seed, "seed", 0, 2**63 - 1))

    def to_json(self) -> dict[str, Any]:
        """The same values as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: object) -> "TrainingOptions":
        """The inverse of `to_json`.

        Raises:
            ParameterError: The document is not one.
        """
        names = cls.__dataclass_fields__.keys()
        if not isinstance(document, dict) or document.keys() != names:
            raise ParameterError(
                f"Training options must have the keys {sorted(names)}; received {document!r}. "
                f"Write them with TrainingOptions.to_json."
            )
        return cls(**document)


def enough_epochs(
    num_images: int, batch_size: int, fewest_epochs: int, *, distorted: bool = False
) -> int:
    """Epochs where their number is left open: the fewest, or more to make enough steps.

    Args:
        num_images: Images to train on, 1 or more.
        batch_size: Images per step.
        fewest_epochs: From 1 to 5,000.
        distorted: Whether images look different each time, which is worth twice as many epochs;
            less if there are fewer images than a step takes.

    Raises:
        ParameterError: `fewest_epochs` is outside its range.
    """
    epochs = _epochs(num_images, batch_size, fewest_epochs, FEWEST_STEPS)
    if not distorted:
        return epochs
    return min(MOST_EPOCHS, math.ceil((1 + min(1, num_images / batch_size)) * epochs))


def are_met_often(num_images: int, batch_size: int, fewest_epochs: int, epochs: int | None) -> bool:
    """Whether training meets the same images so often that it should distort them.

    Args:
        num_images: As in `enough_epochs`, as are the next two.
        batch_size: Images per step.
        fewest_epochs: From 1 to 5,000.
        epochs: Passes over the images, if they are given.

    Raises:
        ParameterError: `fewest_epochs` is outside its range.
    """
    enough = _epochs(num_images, batch_size, fewest_epochs, 2 * FEWEST_STEPS)
    return enough > max(MOST_ALIKE, fewest_epochs) and (epochs is None or epochs > MOST_ALIKE)


def _epochs(num_images: int, batch_size: int, fewest_epochs: int, fewest_steps: int) -> int:
    fewest = whole_number(fewest_epochs, "fewest_epochs", 1, MOST_EPOCHS)
    return max(fewest, math.ceil(fewest_steps / math.ceil(num_images / batch_size)))


def filters_for(height: int, width: int) -> tuple[int, ...]:
    """Filters where they are left open.

    Args:
        height: Rows of an image.
        width: Columns.
    """
    smaller, larger = sorted((height, width))
    if larger <= SMALL_SIDE:
        return SMALL_FILTERS
    # A side of one pixel cannot be halved.
    num_stages = min(math.ceil(math.log2(larger / LAST_SIDE)), int(math.log2(smaller)), MOST_STAGES)
    return tuple(min(FIRST_FILTERS << stage, MOST_FILTERS) for stage in range(num_stages))
