"""Train a model epoch by epoch, so that an unbroken and a resumed run are the same run.

Everything a step depends on is either in the checkpoint or follows from (seed, epoch, step): the
order of the images of an epoch is drawn from those numbers alone. It reads no files of images and
draws no pictures.
"""

import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from convae.errors import ParameterError
from convae.images import to_float
from convae.nn.backend import keras
from convae.nn.build import get_weights, set_weights
from convae.nn.checkpoint import Checkpoint, incomplete, read_checkpoint, write_checkpoint
from convae.nn.config import Architecture, TrainingOptions
from convae.nn.history import EpochRecord
from convae.nn.losses import LOSSES
from convae.nn.statistics import StatisticsRecomputer

CHECKPOINT_INTERVAL_S = 60.0
# An epoch of few images takes less time than writing it down.
SHORTEST_INTERVAL_S = 2.0

Images = NDArray[np.uint8] | NDArray[np.float32]
Weights = dict[str, NDArray[np.float32]]


class Observer(Protocol):
    """Something that watches a training: a progress bar, a log."""

    def start(self, num_epochs: int, num_steps: int) -> None:
        """Training begins: so many epochs of so many steps."""

    def step(self, epoch: int, step: int, loss: float) -> None:
        """Step `step` of epoch `epoch`, both from 1, is done; `loss` is the epoch's mean yet."""

    def epoch(self, record: EpochRecord) -> None:
        """An epoch is done."""

    def stop(self) -> None:
        """Training ends, well or not."""


def train(
    model: keras.Model,
    architecture: Architecture,
    options: TrainingOptions,
    images: Images,
    validation_images: Images | None = None,
    *,
    checkpoint_path: str | os.PathLike[str] | None = None,
    resume: bool = False,
    fingerprint: str = "",
    observers: Sequence[Observer] = (),
) -> list[EpochRecord]:
    """Train `model` in place.

    With validation images the weights of the best epoch are the ones that stay.

    Args:
        model: The result of `convae.nn.build.build_model`.
        architecture: Its architecture.
        options: The recipe.
        images: uint8, or float32 in [0, 1], `(num_images, height, width, channels)`.
        validation_images: The same, never trained on.
        checkpoint_path: Where the state is kept after an epoch (but for those that follow within
            two seconds), every minute, on Ctrl-C and at the end; None keeps none.
        resume: Go on from the file at `checkpoint_path`.
        fingerprint: Names the training data; a checkpoint of other data is refused.
        observers: They are told of each step and epoch.

    Returns:
        A record for each epoch, those before a resumption included.

    Raises:
        ModelFileError: The checkpoint is missing, damaged, or of another run.
        ParameterError: The loss is no longer finite.
        OutputError: The checkpoint cannot be written.
        KeyboardInterrupt: Ctrl-C was pressed; the checkpoint is written.
    """
    run = _Run(model, architecture, options, len(images), checkpoint_path, fingerprint, observers)
    if resume:
        run.resume()
    recomputer = StatisticsRecomputer(model, images) if options.recompute_statistics else None

    def recompute_statistics() -> None:
        if recomputer is not None:
            recomputer()

    for observer in observers:
        observer.start(options.epochs, run.num_steps)
    try:
        with _interruption() as interrupted:
            while not run.finished():
                started = time.monotonic()
                run.finish_steps(images, interrupted)
                val_loss = None
                if validation_images is not None:
                    recompute_statistics()
                    val_loss = _validate(model, validation_images, options.batch_size)
                run.finish_epoch(val_loss, time.monotonic() - started)
    finally:
        for observer in observers:
            observer.stop()
    if run.best_weights is not None:
        set_weights(model, run.best_weights)
    else:
        recompute_statistics()
    return run.records


class _Run:
    """One training and where it stands."""

    def __init__(
        self,
        model: keras.Model,
        architecture: Architecture,
        options: TrainingOptions,
        num_images: int,
        checkpoint_path: str | os.PathLike[str] | None,
        fingerprint: str,
        observers: Sequence[Observer],
    ) -> None:
        self.num_steps = -(-num_images // options.batch_size)
        self.records: list[EpochRecord] = []
        self.best_weights: Weights | None = None
        self._step = 0
        self._loss_sum = 0.0
        self._model = model
        self._architecture = architecture
        self._options = options
        self._num_images = num_images
        self._path = checkpoint_path
        self._identity = {"fingerprint": fingerprint, "backend": keras.backend.backend()}
        self._observers = observers
        self._optimizer = _make_optimizer(options, self.num_steps)
        self._optimizer.build(model.trainable_variables)
        model.compile(optimizer=self._optimizer, loss=LOSSES[options.loss])
        self._kept_at = time.monotonic()

    def finished(self) -> bool:
        done, patience = len(self.records), self._options.patience
        return done >= self._options.epochs or (
            patience is not None and done > 0 and done - self._best_epoch() >= patience
        )

    def _best_epoch(self) -> int:
        """The epoch of the least validation loss, the first of equals; 0 when there is none."""
        losses = {r.val_loss: r.epoch for r in reversed(self.records) if r.val_loss is not None}
        return losses[min(losses)] if losses else 0

    def finish_steps(self, images: Images, interrupted: threading.Event) -> None:
        """The steps of the epoch under way that are still to do."""
        epoch, batch_size = len(self.records) + 1, self._options.batch_size
        order = np.random.default_rng([self._options.seed, epoch]).permutation(self._num_images)
        for step in range(self._step, self.num_steps):
            chosen = order[step * batch_size : (step + 1) * batch_size]
            batch = to_float(images[chosen])
            # Keras averages the loss over the calls since a reset; an epoch's mean is ours to keep.
            self._model.reset_metrics()
            loss = float(self._model.train_on_batch(batch, batch))
            if not math.isfinite(loss):
                raise ParameterError(
                    f"Training must keep the loss finite; step {step + 1} of epoch {epoch} gave "
                    f"{loss}. Lower learning_rate (now {self._options.learning_rate})."
                )
            self._loss_sum += loss * len(chosen)
            self._step = step + 1
            num_seen = min(self._step * batch_size, self._num_images)
            for observer in self._observers:
                observer.step(epoch, self._step, self._loss_sum / num_seen)
            if interrupted.is_set():
                self._keep()
                raise KeyboardInterrupt
            if time.monotonic() - self._kept_at > CHECKPOINT_INTERVAL_S:
                self._keep()

    def finish_epoch(self, val_loss: float | None, elapsed_s: float) -> None:
        record = EpochRecord(
            epoch=len(self.records) + 1,
            loss=self._loss_sum / self._num_images,
            val_loss=val_loss,
            learning_rate=self._learning_rate(),
            elapsed_s=elapsed_s,
        )
        self.records.append(record)
        self._step, self._loss_sum = 0, 0.0
        if self._best_epoch() == record.epoch:
            self.best_weights = get_weights(self._model)
        for observer in self._observers:
            observer.epoch(record)
        due = time.monotonic() - self._kept_at > SHORTEST_INTERVAL_S
        if due or record.epoch == 1 or self.finished():
            self._keep()

    def _learning_rate(self) -> float:
        """The step size now, as float32 holds it, in the digits that say something."""
        return float(f"{float(keras.ops.convert_to_tensor(self._optimizer.learning_rate)):.7g}")

    def _keep(self) -> None:
        if self._path is None:
            return
        checkpoint = Checkpoint(
            weights=get_weights(self._model),
            optimizer=[keras.ops.convert_to_numpy(v.value) for v in self._optimizer.variables],
            best_weights=self.best_weights,
            records=list(self.records),
            step=self._step,
            loss_sum=self._loss_sum,
        )
        write_checkpoint(self._path, self._architecture, self._options, self._identity, checkpoint)
        self._kept_at = time.monotonic()

    def resume(self) -> None:
        if self._path is None:
            raise ParameterError(
                "Resuming needs a checkpoint; received resume=True without checkpoint_path. "
                "Pass the path that the interrupted run was given."
            )
        checkpoint = read_checkpoint(self._path, self._architecture, self._options, self._identity)
        shapes = [tuple(variable.shape) for variable in self._optimizer.variables]
        fits = [value.shape for value in checkpoint.optimizer] == shapes
        if not fits or checkpoint.step > self.num_steps:
            raise incomplete(self._path)
        set_weights(self._model, checkpoint.weights)
        for variable, value in zip(self._optimizer.variables, checkpoint.optimizer, strict=True):
            variable.assign(value)
        self.records = checkpoint.records
        self.best_weights = checkpoint.best_weights
        self._step, self._loss_sum = checkpoint.step, checkpoint.loss_sum


def _make_optimizer(options: TrainingOptions, num_steps: int) -> keras.optimizers.Optimizer:
    rate: float | keras.optimizers.schedules.LearningRateSchedule = options.learning_rate
    if options.learning_rate_schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, options.epochs * num_steps)
    return keras.optimizers.Adam(rate)


def _validate(model: keras.Model, images: Images, batch_size: int) -> float:
    loss_sum = 0.0
    for start in range(0, len(images), batch_size):
        batch = to_float(images[start : start + batch_size])
        model.reset_metrics()
        loss_sum += float(model.test_on_batch(batch, batch)) * len(batch)
    return loss_sum / len(images)


@contextlib.contextmanager
def _interruption() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets, so that a step is never cut in half.

    The second Ctrl-C is an ordinary KeyboardInterrupt. The event is never set outside the main
    thread, where signals cannot be handled, and in a process that ignores Ctrl-C, as those that a
    shell starts in the background do.
    """
    event = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or before == signal.SIG_IGN:
        yield event
        return

    def note(*_: object) -> None:
        event.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)
