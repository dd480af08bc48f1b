"""How a network is trained, in numbers alone: options, and presets of them by name."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from convae.architecture.plan import SMALLEST_SIDE
from convae.checks import fraction, one_of, whole_number
from convae.errors import ParameterError

# A record of each epoch stands in the header of the model file, which is bounded too.
MOST_EPOCHS = 5_000

LOSS_NAMES = ("mse", "mae", "bce", "ssim")
OPTIMIZER_NAMES = ("adam", "muon")
SCHEDULE_NAMES = ("constant", "cosine", "linear")
# An image that is shifted out of view teaches nothing.
LARGEST_TRANSLATION = SMALLEST_SIDE - 1

# Where the number of epochs is left open: a network that is trained for fewer steps shows nothing
# yet, so few images are seen more often.
FEWEST_STEPS = 1_000

# What `ConvAutoencoder()` does.
_FAST: dict[str, Any] = {
    "filters": (32, 64),
    "latent_dim": 16,
    "loss": "mse",
    "epochs": None,
    "fewest_epochs": 4,
    "batch_size": 32,
    "optimizer": "muon",
    "learning_rate": 0.012,
    "learning_rate_schedule": "linear",
    "weight_decay": 0.04,
    "translation": 0,
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
        "loss": "mse",
        "epochs": 20,
        "batch_size": 32,
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "learning_rate_schedule": "constant",
        "weight_decay": 0.0,
        "translation": 0,
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

    @classmethod
    def for_images(
        cls,
        num_images: int,
        *,
        epochs: int | None = None,
        fewest_epochs: int = 4,
        **others: Any,  # noqa: ANN401 # the other parameters
    ) -> "TrainingOptions":
        """A recipe whose number of epochs may be left open: then `enough_epochs` decides.

        Args:
            num_images: Images to train on, 1 or more.
            epochs: Passes over them; None leaves it open.
            fewest_epochs: The fewest that are then decided on, from 1 to 5,000.
            **others: The other parameters.

        Raises:
            ParameterError: A value is outside its range.
        """
        if epochs is None:
            batch_size = cls(epochs=1, **others).batch_size
            epochs = enough_epochs(num_images, batch_size, fewest_epochs)
        return cls(epochs=epochs, **others)

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


def enough_epochs(num_images: int, batch_size: int, fewest_epochs: int) -> int:
    """Epochs where their number is left open: the fewest, or as many more as make 1,000 steps.

    Args:
        num_images: Images to train on, 1 or more.
        batch_size: Images per step.
        fewest_epochs: From 1 to 5,000.

    Raises:
        ParameterError: `fewest_epochs` is outside its range.
    """
    num_steps = math.ceil(num_images / batch_size)
    fewest = whole_number(fewest_epochs, "fewest_epochs", 1, MOST_EPOCHS)
    return max(fewest, math.ceil(FEWEST_STEPS / num_steps))
