"""What a network looks like, in numbers alone; building it is `convae.nn.build`."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from convae.errors import ParameterError

SMALLEST_SIDE = 8
# Bounds that no small autoencoder meets: they keep a hostile file from asking for the moon.
LARGEST_SIDE = 65_536
LARGEST_WIDTH = 65_536
MOST_STAGES = 12
LARGEST_LATENT_DIM = 1_048_576
# A checkpoint holds the weights four times over (best ones, two moments) and a file of ours is at
# most 2 GiB.
MOST_PARAMETERS = 100_000_000
# A record of each epoch stands in the header of the model file, which is bounded too.
MOST_EPOCHS = 5_000
KERNEL_SIDE = 3
LEAKY_SLOPE = 0.2

LOSS_NAMES = ("mse", "mae", "bce", "ssim")
OPTIMIZER_NAMES = ("adam", "muon")
SCHEDULE_NAMES = ("constant", "cosine", "linear")
# Images moved so far that nothing of them is left teach nothing.
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


def whole_number(value: object, name: str, low: int, high: int) -> int:
    """`value` as an int from `low` to `high`.

    Raises:
        ParameterError: It is none, or outside; the message calls it `name`.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ParameterError(
            f"{name} must be a whole number from {low} to {high}; received {value!r}. Pass an int."
        )
    number = value.__index__()
    if not low <= number <= high:
        raise ParameterError(
            f"{name} must be from {low} to {high}; received {number}. "
            f"Choose a value inside that range."
        )
    return int(number)


@dataclass(frozen=True, slots=True)
class Architecture:
    """The shape of one convolutional autoencoder.

    Every stage of the encoder halves the image (rounding up); the decoder doubles it again and
    crops what rounding added, so that any size comes back at its own size.

    Args:
        height: Rows of an image, 8 or more.
        width: Columns of an image, 8 or more.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA).
        filters: Filters of each stage, from the image inwards.
        latent_dim: Length of the latent vector.

    Raises:
        ParameterError: A number is outside its range.
    """

    height: int
    width: int
    channels: int
    filters: tuple[int, ...] = (32, 64)
    latent_dim: int = 16

    def __post_init__(self) -> None:
        def settle(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        settle("height", whole_number(self.height, "height", SMALLEST_SIDE, LARGEST_SIDE))
        settle("width", whole_number(self.width, "width", SMALLEST_SIDE, LARGEST_SIDE))
        settle("channels", whole_number(self.channels, "channels", 1, 4))
        if self.channels == 2:
            raise ParameterError(
                "channels must be 1 (grey), 3 (RGB) or 4 (RGBA); received 2. "
                "Split or join the planes first."
            )
        if not isinstance(self.filters, (tuple, list)) or not 1 <= len(self.filters) <= MOST_STAGES:
            raise ParameterError(
                f"filters must be a tuple of 1 to {MOST_STAGES} whole numbers, one for each stage; "
                f"received {self.filters!r}. Pass for example (32, 64)."
            )
        settle(
            "filters",
            tuple(
                whole_number(count, "each of filters", 1, LARGEST_WIDTH) for count in self.filters
            ),
        )
        settle("latent_dim", whole_number(self.latent_dim, "latent_dim", 1, LARGEST_LATENT_DIM))
        if self.num_parameters > MOST_PARAMETERS:
            raise ParameterError(
                f"A network may have at most {MOST_PARAMETERS:,} parameters; received the numbers "
                f"of one with {self.num_parameters:,}: {self.height} x {self.width} x "
                f"{self.channels}, filters {self.filters}, latent_dim {self.latent_dim}. Make the "
                f"images smaller or the filters fewer, or add a stage."
            )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        return self.height, self.width, self.channels

    @property
    def volume(self) -> tuple[int, int, int]:
        """Height, width and channels of the encoder's last volume."""
        scale = 2 ** len(self.filters)
        return math.ceil(self.height / scale), math.ceil(self.width / scale), self.filters[-1]

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight, in the order of the layers.

        A name is `model/layer/variable`; stages are numbered through both models, since Keras on
        PyTorch mixes up the gradients of layers that share a name. The kernels are laid out as
        Keras lays them out (height, width, in, out for a convolution; height, width, out, in for a
        transposed one).
        """
        shapes: dict[str, tuple[int, ...]] = {}

        def kernel_and_bias(layer: str, kernel: tuple[int, ...], bias: int) -> None:
            shapes[f"{layer}/kernel"] = kernel
            shapes[f"{layer}/bias"] = (bias,)

        def batch_normalization(layer: str, width: int) -> None:
            for variable in ("gamma", "beta", "moving_mean", "moving_variance"):
                shapes[f"{layer}/{variable}"] = (width,)

        volume_size = math.prod(self.volume)
        before = self.channels
        for stage, count in enumerate(self.filters, start=1):
            kernel_and_bias(
                f"encoder/conv2d_{stage}", (KERNEL_SIDE, KERNEL_SIDE, before, count), count
            )
            batch_normalization(f"encoder/batch_normalization_{stage}", count)
            before = count
        kernel_and_bias("encoder/latents", (volume_size, self.latent_dim), self.latent_dim)
        kernel_and_bias("decoder/volume", (self.latent_dim, volume_size), volume_size)
        for stage, count in enumerate(reversed(self.filters), start=len(self.filters) + 1):
            kernel_and_bias(
                f"decoder/conv2d_transpose_{stage}",
                (KERNEL_SIDE, KERNEL_SIDE, count, before),
                count,
            )
            batch_normalization(f"decoder/batch_normalization_{stage}", count)
            before = count
        kernel_and_bias(
            "decoder/reconstruction",
            (KERNEL_SIDE, KERNEL_SIDE, self.channels, before),
            self.channels,
        )
        return shapes

    @property
    def num_parameters(self) -> int:
        """How many numbers all weights hold together."""
        return sum(math.prod(shape) for shape in self.weight_shapes().values())

    def to_json(self) -> dict[str, object]:
        """The same numbers as plain JSON values."""
        return {
            "height": self.height,
            "width": self.width,
            "channels": self.channels,
            "filters": list(self.filters),
            "latent_dim": self.latent_dim,
        }

    @classmethod
    def from_json(cls, document: object) -> "Architecture":
        """The inverse of `to_json`, for a document that nobody vouches for.

        Raises:
            ParameterError: A key is missing or unknown, or a number is outside its range.
        """
        names = {"height", "width", "channels", "filters", "latent_dim"}
        if not isinstance(document, dict) or set(document) != names:
            raise ParameterError(
                f"An architecture must have the keys {sorted(names)}; received "
                f"{sorted(document) if isinstance(document, dict) else document!r}. "
                f"Write it with Architecture.to_json."
            )
        if not isinstance(document["filters"], list):
            raise ParameterError(
                f"filters must be a list; received {document['filters']!r}. "
                f"Write it with Architecture.to_json."
            )
        return cls(**{**document, "filters": tuple(document["filters"])})


def real_number(value: object, name: str) -> float:
    """`value` as a float.

    Raises:
        ParameterError: It is none; the message calls it `name`.
    """
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise ParameterError(f"{name} must be a number; received {value!r:.80}. Pass a float.")
    return float(value)


def fraction(value: object, name: str, low: float, high: float, *, open_low: bool) -> float:
    """A finite float from `low` (left out when `open_low`) up to, not including, `high`.

    Raises:
        ParameterError: `value` is none, or outside; the message calls it `name`.
    """
    number = real_number(value, name)
    if not (low < number < high or (number == low and not open_low)):
        raise ParameterError(
            f"{name} must be {'above' if open_low else 'at least'} {low} and below {high}; "
            f"received {number}. Choose a value inside that range."
        )
    return number


def _one_of(value: object, name: str, names: tuple[str, ...]) -> None:
    if value not in names:
        raise ParameterError(
            f"{name} must be one of {', '.join(names)}; received {value!r}. Choose one of them."
        )


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """A recipe for training, checked.

    Args:
        epochs: Passes over the training images, from 1 to 5,000.
        loss: "mse", "mae", "bce" (binary cross-entropy) or "ssim" (1 - SSIM).
        batch_size: Images a step.
        optimizer: "adam", or "muon" (orthogonalised momentum for kernels, Adam for the rest).
        learning_rate: First step size, above 0.
        learning_rate_schedule: "constant", or "cosine" or "linear" (down to 0 at the last step).
        weight_decay: Share of a weight that a step of size 1 would take away, 0 or more, below 1.
        translation: Largest number of pixels, from 0 to 7, by which an image is moved at random,
            down or up and right or left, each time it is met.
        validation_split: Fraction of the images held out to validate on, 0 or more, below 1.
        patience: Stop after so many epochs without a lower validation loss; None never stops early.
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

        _one_of(self.loss, "loss", LOSS_NAMES)
        settle("epochs", whole_number(self.epochs, "epochs", 1, MOST_EPOCHS))
        settle("batch_size", whole_number(self.batch_size, "batch_size", 1, 65_536))
        settle(
            "learning_rate",
            fraction(self.learning_rate, "learning_rate", 0.0, 1e6, open_low=True),
        )
        _one_of(self.optimizer, "optimizer", OPTIMIZER_NAMES)
        _one_of(self.learning_rate_schedule, "learning_rate_schedule", SCHEDULE_NAMES)
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
        batch_size: Images a step.
        fewest_epochs: From 1 to 5,000.

    Raises:
        ParameterError: `fewest_epochs` is outside its range.
    """
    num_steps = math.ceil(num_images / batch_size)
    fewest = whole_number(fewest_epochs, "fewest_epochs", 1, MOST_EPOCHS)
    return max(fewest, math.ceil(FEWEST_STEPS / num_steps))
