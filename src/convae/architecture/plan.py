"""The one plan of the network: every layer as data, from a few numbers.

All that builds the layers, prints them, checks the weights of a file or computes with them reads
this plan; the layers are listed nowhere else.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from convae.checks import whole_number
from convae.errors import ParameterError

SMALLEST_SIDE = 8
# Bounds that no small autoencoder meets: they keep a hostile file from claiming a huge network.
LARGEST_SIDE = 65_536
LARGEST_WIDTH = 65_536
MOST_STAGES = 11
LARGEST_LATENT_DIM = 1_048_576
# Each pass computes the whole network once more; from the third on they hardly help.
MOST_PASSES = 16
# A checkpoint holds the weights four times over (best ones, two moments) and a file of ours is at
# most 2 GiB.
MOST_PARAMETERS = 100_000_000
# Numbers between two layers for one image: 256 MiB. Few parameters can lead to giant volumes.
LARGEST_VOLUME = 2**26
KERNEL_SIDE = 3
# The layer that makes pixels of the last volume.
LAST = "reconstruction"
NEGATIVE_SLOPE = 0.2
# Keras's default for batch normalization.
EPSILON = 1e-3


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer.

    Args:
        model: "encoder" or "decoder".
        name: Its name, which no other layer with weights has.
        kind: Its Keras class.
        output_shape: Without the batch axis.
        settings: What the class needs to build it, by Keras's names.
        weights: The shape of each weight, laid out as Keras lays it out: a convolution's kernel is
            (height, width, in, out), that of a transposed one (height, width, out, in).
    """

    model: str
    name: str
    kind: str
    output_shape: tuple[int, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """The prefix of its weights' names, `model/name`."""
        return f"{self.model}/{self.name}"

    @property
    def num_parameters(self) -> int:
        """How many numbers its weights hold."""
        return sum(map(math.prod, self.weights.values()))

    @property
    def num_trainable(self) -> int:
        """How many of these training moves by gradient."""
        return sum(
            math.prod(shape)
            for name, shape in self.weights.items()
            if not name.startswith("moving_")
        )


@dataclass(frozen=True, slots=True)
class Architecture:
    """The shape of one convolutional autoencoder.

    Every stage of the encoder halves the image (rounding up); the decoder doubles it again and
    crops what rounding added, so that any size comes back at its own size.

    Args:
        height: Rows of an image, 8 or more.
        width: Columns of an image, 8 or more.
        channels: 1 (gray), 3 (RGB) or 4 (RGBA).
        filters: Filters of each stage, from the image inwards.
        latent_dim: Length of the latent vector.
        encoder_passes: How often the encoder looks at an image, as `Network.encode` says: 1 to 16.

    Raises:
        ParameterError: A number is outside its range.
    """

    height: int
    width: int
    channels: int
    filters: tuple[int, ...] = (32, 64)
    latent_dim: int = 16
    encoder_passes: int = 1

    def __post_init__(self) -> None:
        def settle(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        settle("height", whole_number(self.height, "height", SMALLEST_SIDE, LARGEST_SIDE))
        settle("width", whole_number(self.width, "width", SMALLEST_SIDE, LARGEST_SIDE))
        settle("channels", whole_number(self.channels, "channels", 1, 4))
        if self.channels == 2:
            raise ParameterError(
                "channels must be 1 (gray), 3 (RGB) or 4 (RGBA); received 2. "
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
        settle(
            "encoder_passes", whole_number(self.encoder_passes, "encoder_passes", 1, MOST_PASSES)
        )
        if self.num_parameters > MOST_PARAMETERS:
            raise ParameterError(
                f"A network may have at most {MOST_PARAMETERS:,} parameters; received the numbers "
                f"of one with {self.num_parameters:,}: {self.height} x {self.width} x "
                f"{self.channels}, filters {self.filters}, latent_dim {self.latent_dim}. Make the "
                f"images smaller or the filters fewer, or add a stage."
            )
        if self.largest_volume > LARGEST_VOLUME:
            raise ParameterError(
                f"Between two layers of a network there may be at most {LARGEST_VOLUME:,} numbers "
                f"for an image; received the numbers of one with {self.largest_volume:,}: "
                f"{self.height} x {self.width} x {self.channels}, filters {self.filters}. Make the "
                f"images smaller or the filters fewer."
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

    def layers(self) -> Iterator[Layer]:
        """Every layer of the encoder, then of the decoder, in order.

        Stages are numbered through both models, since Keras on PyTorch mixes up the gradients of
        layers that share a name.
        """
        yield from self._encoder()
        yield from self._decoder()

    def _encoder(self) -> Iterator[Layer]:
        rows, columns, depth = self.image_shape
        yield Layer("encoder", "images", "InputLayer", self.image_shape)
        for stage, filters in enumerate(self.filters, start=1):
            rows, columns = math.ceil(rows / 2), math.ceil(columns / 2)
            kernel = (KERNEL_SIDE, KERNEL_SIDE, depth, filters)
            shape = (rows, columns, filters)
            yield _convolution("encoder", f"conv2d_{stage}", "Conv2D", shape, kernel, 2)
            yield from _activation_and_normalization("encoder", stage, shape)
            depth = filters
        size = math.prod(self.volume)
        yield Layer("encoder", "flatten", "Flatten", (size,))
        yield _dense("encoder", "latents", size, self.latent_dim)

    def _decoder(self) -> Iterator[Layer]:
        rows, columns, depth = self.volume
        yield Layer("decoder", "latents_input", "InputLayer", (self.latent_dim,))
        yield _dense("decoder", "volume", self.latent_dim, math.prod(self.volume))
        settings: dict[str, Any] = {"target_shape": self.volume}
        yield Layer("decoder", "reshape", "Reshape", self.volume, settings)
        kind = "Conv2DTranspose"
        for stage, filters in enumerate(reversed(self.filters), start=len(self.filters) + 1):
            rows, columns = 2 * rows, 2 * columns
            kernel = (KERNEL_SIDE, KERNEL_SIDE, filters, depth)
            shape = (rows, columns, filters)
            yield _convolution("decoder", f"conv2d_transpose_{stage}", kind, shape, kernel, 2)
            yield from _activation_and_normalization("decoder", stage, shape)
            depth = filters
        kernel = (KERNEL_SIDE, KERNEL_SIDE, self.channels, depth)
        shape = (rows, columns, self.channels)
        yield _convolution("decoder", LAST, kind, shape, kernel, 1)
        extra = (rows - self.height, columns - self.width)
        if any(extra):
            settings = {"cropping": tuple((more // 2, more - more // 2) for more in extra)}
            yield Layer("decoder", "crop", "Cropping2D", self.image_shape, settings)
        settings = {"activation": "sigmoid"}
        yield Layer("decoder", "pixels", "Activation", self.image_shape, settings)

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name, `model/layer/variable`, and shape of every weight, in the order of the layers."""
        return {
            f"{layer.path}/{variable}": shape
            for layer in self.layers()
            for variable, shape in layer.weights.items()
        }

    @property
    def num_parameters(self) -> int:
        """How many numbers all weights hold together."""
        return sum(layer.num_parameters for layer in self.layers())

    @property
    def largest_volume(self) -> int:
        """The most numbers between two layers for one image.

        The last convolution counts with the nine products that it adds up for each of its own.
        """
        return max(
            math.prod(layer.output_shape) * (KERNEL_SIDE**2 if layer.name == LAST else 1)
            for layer in self.layers()
        )

    def to_json(self) -> dict[str, object]:
        """The same numbers as plain JSON values."""
        return {
            "height": self.height,
            "width": self.width,
            "channels": self.channels,
            "filters": list(self.filters),
            "latent_dim": self.latent_dim,
            "encoder_passes": self.encoder_passes,
        }

    @classmethod
    def from_json(cls, document: object) -> "Architecture":
        """The inverse of `to_json`, for an untrusted document.

        Raises:
            ParameterError: A key is missing or unknown, or a number is outside its range.
        """
        names = set(cls.__dataclass_fields__)
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


def _convolution(
    model: str,
    name: str,
    kind: str,
    shape: tuple[int, int, int],
    kernel: tuple[int, ...],
    strides: int,
) -> Layer:
    filters = shape[2]
    settings = {
        "filters": filters,
        "kernel_size": KERNEL_SIDE,
        "strides": strides,
        "padding": "same",
    }
    return Layer(model, name, kind, shape, settings, {"kernel": kernel, "bias": (filters,)})


def _dense(model: str, name: str, inputs: int, units: int) -> Layer:
    weights = {"kernel": (inputs, units), "bias": (units,)}
    return Layer(model, name, "Dense", (units,), {"units": units}, weights)


def _activation_and_normalization(
    model: str, stage: int, shape: tuple[int, int, int]
) -> Iterator[Layer]:
    settings: dict[str, Any] = {"negative_slope": NEGATIVE_SLOPE}
    yield Layer(model, f"leaky_relu_{stage}", "LeakyReLU", shape, settings)
    settings = {"axis": -1, "epsilon": EPSILON}
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    weights: dict[str, tuple[int, ...]] = dict.fromkeys(names, (shape[2],))
    name = f"batch_normalization_{stage}"
    yield Layer(model, name, "BatchNormalization", shape, settings, weights)
