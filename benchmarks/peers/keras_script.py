"""What a student would write: the reference network in stock Keras on TensorFlow, and `fit`.

    python keras_script.py --images mnist.npz                        # images a second, warmed up
    python keras_script.py --images mnist.npz --epochs 20 --evaluate # one cold training

It prints a line of JSON for each measurement. It imports nothing of convae.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
import keras  # only now
from keras import layers

FILTERS = (32, 64)
LATENT_DIM = 16
BATCH_SIZE = 32
LEARNING_RATE = 1e-3


def build() -> keras.Model:
    """The reference network: 178,769 parameters."""
    images = keras.Input((28, 28, 1))
    x = images
    for filters in FILTERS:
        x = layers.Conv2D(filters, 3, strides=2, padding="same")(x)
        x = layers.LeakyReLU(negative_slope=0.2)(x)
        x = layers.BatchNormalization()(x)
    volume = x.shape[1:]
    x = layers.Flatten()(x)
    encoder = keras.Model(images, layers.Dense(LATENT_DIM)(x), name="encoder")

    latents = keras.Input((LATENT_DIM,))
    x = layers.Dense(int(np.prod(volume)))(latents)
    x = layers.Reshape(volume)(x)
    for filters in reversed(FILTERS):
        x = layers.Conv2DTranspose(filters, 3, strides=2, padding="same")(x)
        x = layers.LeakyReLU(negative_slope=0.2)(x)
        x = layers.BatchNormalization()(x)
    x = layers.Conv2DTranspose(1, 3, padding="same")(x)
    decoder = keras.Model(latents, layers.Activation("sigmoid")(x), name="decoder")
    return keras.Model(images, decoder(encoder(images)), name="autoencoder")


def mean_squared_error(model: keras.Model, images: NDArray[np.float32]) -> float:
    """The mean over all pixels, summed in float64."""
    rebuilt = model.predict(images, batch_size=256, verbose=0)
    difference = np.subtract(images, rebuilt, dtype=np.float64)
    return float(np.mean(difference**2))


class Evaluation(keras.callbacks.Callback):  # type: ignore[misc] # Keras is untyped
    """Prints the test error after each epoch, and how many seconds finding it took so far."""

    def __init__(self, images: NDArray[np.float32]) -> None:
        super().__init__()
        self._images = images
        self._elapsed_s = 0.0

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Keras calls it."""
        started = time.perf_counter()
        test_mse = mean_squared_error(self.model, self._images)
        self._elapsed_s += time.perf_counter() - started
        say(epoch=epoch + 1, **(logs or {}), test_mse=test_mse, evaluation_s=self._elapsed_s)


def say(**answer: object) -> None:
    """Print one line of JSON, at once."""
    print(json.dumps(answer), flush=True)


def main() -> None:
    """Train and print, as the options say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True, help="an .npz of x_train and x_test")
    parser.add_argument("--count", type=int, help="train on the first so many images")
    parser.add_argument("--epochs", type=int, default=1, help="of a measurement")
    parser.add_argument("--repeat", type=int, default=3, help="measurements")
    parser.add_argument("--on-request", action="store_true", help="measure at each line of stdin")
    parser.add_argument("--evaluate", action="store_true", help="train once; test each epoch")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    keras.utils.set_random_seed(arguments.seed)
    data = np.load(arguments.images)
    images, test = (
        data[name].reshape(-1, 28, 28, 1).astype("float32") / 255 for name in ("x_train", "x_test")
    )
    images = images[: arguments.count]
    model = build()
    model.compile(optimizer=keras.optimizers.Adam(LEARNING_RATE), loss="mse")

    def fit(epochs: int, *callbacks: keras.callbacks.Callback) -> float:
        history = model.fit(
            images, images, batch_size=BATCH_SIZE, epochs=epochs, callbacks=callbacks, verbose=0
        )
        return float(history.history["loss"][-1])

    if arguments.evaluate:
        fit(arguments.epochs, Evaluation(test))
        return
    fit(1)
    say(library=f"keras {keras.__version__} on {keras.backend.backend()} {backend_version()}")
    for _ in range(arguments.repeat):
        if arguments.on_request and not sys.stdin.readline():
            break
        started = time.perf_counter()
        loss = fit(arguments.epochs)
        elapsed_s = time.perf_counter() - started
        say(images=len(images) * arguments.epochs, elapsed_s=elapsed_s, loss=loss)


def backend_version() -> str:
    """The version of the library that Keras computes with."""
    return str(sys.modules[keras.backend.backend()].__version__)


if __name__ == "__main__":
    main()
