"""A network in Keras: built when it is first used, so that a model is loaded without Keras."""

import threading
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from convae.architecture.plan import Architecture
from convae.errors import ModelFileError

if TYPE_CHECKING:
    import keras

    from convae.nn.predict import Predictor

Floats = NDArray[np.float32]


class KerasNetwork:
    """The `convae.architecture.network.Network` that runs on Keras; threads may share one.

    Args:
        architecture: Its shape.
        weights: float32, named and shaped as `architecture.weight_shapes()`.
    """

    def __init__(self, architecture: Architecture, weights: dict[str, Floats]) -> None:
        self._architecture = architecture
        self._weights = weights
        self._model: keras.Model | None = None
        self._made_predictor: Predictor | None = None
        self._lock = threading.RLock()

    @classmethod
    def of(cls, architecture: Architecture, model: "keras.Model") -> Self:
        """The network of a model that `convae.nn.build.build_model` made."""
        network = cls(architecture, {})
        network._model = model
        return network

    @property
    def architecture(self) -> Architecture:
        """Its shape."""
        return self._architecture

    @property
    def keras_model(self) -> "keras.Model":
        """The Keras model `autoencoder`; training it further changes this network too."""
        with self._lock:
            if self._model is None:
                from convae.nn.build import build_blank, set_weights

                model = build_blank(self._architecture)
                set_weights(model, self._weights)
                self._model, self._weights = model, {}
            return self._model

    def start(self) -> None:
        """Start the backend, as `Network.start` says."""
        from convae.nn.backend import start

        start()

    def weights(self) -> dict[str, Floats]:
        """Copies of all weights, keyed `model/layer/variable`."""
        with self._lock:
            if self._model is None:
                return {name: value.copy() for name, value in self._weights.items()}
        from convae.nn.build import get_weights

        return get_weights(self._model)

    def encode(self, images: Floats) -> Floats:
        """The latents of images, as `Network.encode` says."""
        return check_finite(self._predictor.encode(images))

    def decode(self, latents: Floats) -> Floats:
        """The images of latents, as `Network.decode` says."""
        return check_finite(self._predictor.decode(latents))

    def reconstruct(self, images: Floats) -> Floats:
        """What encoding and decoding make of images, as `Network.reconstruct` says."""
        return check_finite(self._predictor.decode(self._predictor.encode(images)))

    @property
    def _predictor(self) -> "Predictor":
        with self._lock:
            if self._made_predictor is None:
                from convae.nn.predict import Predictor

                self._made_predictor = Predictor(self.keras_model, self._architecture)
            return self._made_predictor

    def __reduce__(self) -> tuple[object, ...]:
        # A copy in another process has the weights, and builds its own model.
        return type(self), (self._architecture, self.weights())


def check_finite(outputs: Floats) -> Floats:
    """Refuse what no sound weights give; their own numbers are finite, but sums may overflow."""
    num_bad = np.count_nonzero(~np.isfinite(outputs))
    if num_bad:
        raise ModelFileError(
            f"A network must give finite numbers; received weights that gave {num_bad:,} that are "
            f"not. Get the model again, or train it again."
        )
    return outputs
