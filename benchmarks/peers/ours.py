"""convae, measured as the peers are: a process that prints a line of JSON for each measurement.

    python ours.py --images mnist.npz            # images a second, warmed up
    python ours.py --evaluate                    # one cold training on MNIST, then its test error
    python ours.py --images mnist.npz --first-steps 100    # the losses of the first steps

A measurement is some epochs of one long training, so nothing is compiled within it.
"""

import argparse
import contextlib
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convae import ConvAutoencoder, RunOptions, load_dataset

if TYPE_CHECKING:
    from convae.architecture.history import EpochRecord


class _Silent:
    """An observer that does nothing yet."""

    def start(self, num_epochs: int, num_steps: int) -> None:
        pass

    def step(self, epoch: int, step: int, loss: float) -> None:
        pass

    def epoch(self, record: "EpochRecord") -> None:
        pass

    def stop(self) -> None:
        pass


class _Stopwatch(_Silent):
    """Times the epochs after the first, and holds the training until the next is asked for."""

    def __init__(self, num_images: int, epochs: int, *, on_request: bool) -> None:
        self._num_images, self._epochs, self._on_request = num_images, epochs, on_request
        self._num_epochs = 0
        self._started = 0.0

    def start(self, num_epochs: int, num_steps: int) -> None:  # noqa: ARG002 # an observer's
        self._num_epochs = num_epochs

    def epoch(self, record: "EpochRecord") -> None:
        elapsed_s = time.perf_counter() - self._started
        done, over = divmod(record.epoch - 1, self._epochs)
        if over:
            return
        if done:
            num_images = self._num_images * self._epochs
            say(images=num_images, elapsed_s=elapsed_s, loss=record.loss)
        else:
            say(library=library())
        more = record.epoch < self._num_epochs
        if more and self._on_request and not sys.stdin.readline():
            raise SystemExit
        self._started = time.perf_counter()


class _EnoughSteps(Exception):
    """The steps that were asked for are done."""


class _FirstSteps(_Silent):
    """Notes the mean loss of the steps yet, and ends the training after some of an epoch."""

    def __init__(self, num_steps: int) -> None:
        self.means: list[tuple[int, float]] = []
        self._num_steps = num_steps

    def step(self, epoch: int, step: int, loss: float) -> None:  # noqa: ARG002 # an observer's
        self.means.append((step, loss))
        if step >= self._num_steps:
            raise _EnoughSteps

    def epoch(self, record: "EpochRecord") -> None:  # noqa: ARG002 # an observer's
        raise _EnoughSteps


def say(**answer: object) -> None:
    """Print one line of JSON, at once."""
    print(json.dumps(answer), flush=True)


def library() -> str:
    """What computes: convae and what it stands on."""
    from convae.nn.backend import keras

    backend = keras.backend.backend()
    return f"keras {keras.__version__} on {backend} {sys.modules[backend].__version__}"


def main() -> None:
    """Train and print, as the options say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--images", type=Path, help="an .npz of x_train and x_test; else MNIST")
    parser.add_argument("--count", type=int, help="train on the first so many images")
    parser.add_argument("--epochs", type=int, help="of a measurement, 1; of --evaluate, as preset")
    parser.add_argument("--repeat", type=int, default=3, help="measurements")
    parser.add_argument("--on-request", action="store_true", help="measure at each line of stdin")
    parser.add_argument("--evaluate", action="store_true", help="train once; test at the end")
    parser.add_argument("--first-steps", type=int, help="print the losses of so many steps alone")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    dataset = load_dataset(arguments.images or "mnist")
    images = dataset.train[: arguments.count]
    changes: dict[str, Any] = {} if arguments.epochs is None else {"epochs": arguments.epochs}
    if arguments.first_steps is not None:
        first = _FirstSteps(arguments.first_steps)
        model = ConvAutoencoder.from_preset(arguments.preset, seed=arguments.seed, **changes)
        with contextlib.suppress(_EnoughSteps):
            model.fit(images, run=RunOptions(observers=[first]))
        say(library=library(), means=first.means)
        return
    if arguments.evaluate:
        model = ConvAutoencoder.from_preset(arguments.preset, seed=arguments.seed, **changes)
        model.fit(images)
        say(epochs=model.n_iter_, images=len(images) * model.n_iter_)
        say(test_mse=-model.score(np.asarray(dataset.test)))
        return
    epochs = arguments.epochs or 1
    changes = {"epochs": 1 + epochs * arguments.repeat}  # the first one warms up
    stopwatch = _Stopwatch(len(images), epochs, on_request=arguments.on_request)
    model = ConvAutoencoder.from_preset(arguments.preset, seed=arguments.seed, **changes)
    model.fit(images, run=RunOptions(observers=[stopwatch]))


if __name__ == "__main__":
    main()
