"""Train a model epoch by epoch, so that an unbroken and a resumed run are the same run.

Everything a step depends on is either in the checkpoint or follows from (seed, epoch, step): the
order of the images of an epoch is drawn from those numbers alone. It reads no files of images and
draws no pictures.
"""

import contextlib
import math
import signal
import threading
import time
from collections.abc import Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from convae.architecture.history import EpochRecord
from convae.architecture.plan import Architecture
from convae.architecture.recipe import TrainingOptions
from convae.architecture.run import UNOBSERVED, RunOptions
from convae.errors import ParameterError
from convae.images import to_float
from convae.images.distortion import Moves, distortion_of
from convae.nn.backend import keras, settled
from convae.nn.build import get_weights, set_weights
from convae.nn.checkpoint import Checkpoint, incomplete, read_checkpoint, write_checkpoint
from convae.nn.losses import LOSSES, Loss
from convae.nn.optimizers import learning_rate_after
from convae.nn.predict import LARGEST_BATCH, Predictor
from convae.nn.statistics import StatisticsRecomputer
from convae.nn.steps import Batches, StepPlan, make_steps

# A call of compiled steps cannot be interrupted.
LONGEST_CALL_S = 0.5
CHECKPOINT_INTERVAL_S = 60.0
# An epoch of few images takes less time than writing it down.
SHORTEST_INTERVAL_S = 2.0

Images = NDArray[np.uint8] | NDArray[np.float32]
Weights = dict[str, NDArray[np.float32]]
_Value = TypeVar("_Value", bound=np.generic)


@settled()
def train(
    model: keras.Model,
    architecture: Architecture,
    options: TrainingOptions,
    images: Images,
    chosen: NDArray[np.intp],
    held_out: NDArray[np.intp],
    *,
    fingerprint: str = "",
    run: RunOptions = UNOBSERVED,
) -> list[EpochRecord]:
    """Train `model` in place.

    With validation images the weights of the best epoch are the ones that stay.

    Args:
        model: The result of `convae.nn.build.build_model`.
        architecture: Its architecture.
        options: The recipe.
        images: uint8, or float32 in [0, 1], `(num_images, height, width, channels)`; in memory or
            mapped from a file, which is read a part at a time.
        chosen: Indices of the images to train on.
        held_out: Indices of the images to validate on; may be empty.
        fingerprint: Names the training data; a checkpoint of other data is refused.
        run: What is kept on the disk, and who is told of each step and epoch.

    Returns:
        A record for each epoch, those before a resumption included.

    Raises:
        ModelFileError: The checkpoint is missing, damaged, or of another run.
        ParameterError: The loss is no longer finite.
        OutputError: The checkpoint cannot be written.
        KeyboardInterrupt: Ctrl-C was pressed; the checkpoint is written.
    """
    state = _Run(model, architecture, options, images, chosen, fingerprint, run)
    if run.resume:
        state.resume()
    predictor = Predictor(model, architecture)
    recomputer = None
    if options.recompute_statistics:
        recomputer = StatisticsRecomputer(model, predictor, images, chosen)

    def recompute_statistics() -> None:
        if recomputer is not None:
            recomputer()

    for observer in run.observers:
        observer.start(options.epochs, state.num_steps)
    try:
        with _interruption() as interrupted:
            while not state.finished():
                started = time.monotonic()
                state.finish_steps(interrupted)
                val_loss = None
                if len(held_out):
                    state.store()
                    recompute_statistics()
                    val_loss = _validate(predictor, images, held_out, LOSSES[options.loss])
                state.finish_epoch(val_loss, time.monotonic() - started)
    finally:
        for observer in run.observers:
            observer.stop()
    state.store()
    if state.best_weights is not None:
        set_weights(model, state.best_weights)
    else:
        recompute_statistics()
    return state.records


class _Run:
    """One training and where it stands."""

    def __init__(
        self,
        model: keras.Model,
        architecture: Architecture,
        options: TrainingOptions,
        images: Images,
        chosen: NDArray[np.intp],
        fingerprint: str,
        run: RunOptions,
    ) -> None:
        self.num_steps = -(-len(chosen) // options.batch_size)
        self.records: list[EpochRecord] = []
        self.best_weights: Weights | None = None
        self._step = 0
        self._loss_sum = 0.0
        self._model = model
        self._architecture = architecture
        self._options = options
        self._chosen = chosen
        self._path = run.checkpoint_path
        self._identity = {"fingerprint": fingerprint, "backend": keras.backend.backend()}
        self._observers = run.observers
        plan = StepPlan(architecture, options, self.num_steps)
        self._optimizer = plan.make_optimizer()
        self._optimizer.build(model.trainable_variables)
        self._steps = make_steps(model, self._optimizer, plan, images)
        self._steps_a_call = 1
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

    def finish_steps(self, interrupted: threading.Event) -> None:
        """The steps of the epoch under way that are still to do."""
        for batches in self._batches():
            started = time.monotonic()
            losses = self._steps.run(batches)
            self._adapt(len(batches), time.monotonic() - started)
            self._note(losses, batches.indices.shape[1])
            if interrupted.is_set():
                self._keep()
                raise KeyboardInterrupt
            if time.monotonic() - self._kept_at > CHECKPOINT_INTERVAL_S:
                self._keep()

    def _batches(self) -> Iterator[Batches]:
        """What is left of the epoch under way, in parts of as many steps as a call takes."""
        epoch, batch_size = len(self.records) + 1, self._options.batch_size
        order = np.random.default_rng([self._options.seed, epoch]).permutation(self._chosen)
        moves = None
        if distortion := distortion_of(self._options):
            random = np.random.default_rng([self._options.seed, epoch, 1])
            moves = distortion.draw(len(order), self._architecture.image_shape, random)
        num_full = len(order) // batch_size
        while self._step < self.num_steps:
            start = self._step * batch_size
            count = max(1, min(self._steps_a_call, num_full - self._step))
            # The last batch of an epoch may be smaller than the others.
            part = slice(start, start + count * batch_size)
            distorted = None
            if moves is not None:
                distorted = Moves(*(_by_step(drawn[part], count) for drawn in moves))
            yield Batches(_by_step(order[part], count), distorted)

    def _adapt(self, num_steps: int, elapsed_s: float) -> None:
        """Choose the steps per call: few, to stop soon on Ctrl-C, yet enough to be worth a call."""
        affordable = int(num_steps * LONGEST_CALL_S / max(elapsed_s, 1e-9))
        most = min(2 * self._steps_a_call, self._steps.most_steps)
        self._steps_a_call = max(1, min(affordable, most))

    def _note(self, losses: NDArray[np.float32], batch_size: int) -> None:
        epoch = len(self.records) + 1
        for loss in losses.tolist():
            self._step += 1
            if not math.isfinite(loss):
                raise ParameterError(
                    f"Training must keep the loss finite; step {self._step} of epoch {epoch} gave "
                    f"{loss}. Lower learning_rate (now {self._options.learning_rate})."
                )
            self._loss_sum += loss * batch_size
            num_seen = min(self._step * self._options.batch_size, len(self._chosen))
            for observer in self._observers:
                observer.step(epoch, self._step, self._loss_sum / num_seen)

    def store(self) -> None:
        """Let the model and the optimizer hold what was trained."""
        self._steps.store()

    def finish_epoch(self, val_loss: float | None, elapsed_s: float) -> None:
        epoch = len(self.records) + 1
        rate = learning_rate_after(self._optimizer, epoch * self.num_steps)
        record = EpochRecord(
            epoch=epoch,
            loss=self._loss_sum / len(self._chosen),
            val_loss=val_loss,
            # In the digits of float32 that say something.
            learning_rate=float(f"{rate:.7g}"),
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

    def _keep(self) -> None:
        if self._path is None:
            return
        self._steps.store()
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
                "Resuming needs a checkpoint; received RunOptions(resume=True) without "
                "checkpoint_path. Pass the path of the interrupted run."
            )
        checkpoint = read_checkpoint(self._path, self._architecture, self._options, self._identity)
        shapes = [tuple(variable.shape) for variable in self._optimizer.variables]
        fits = [value.shape for value in checkpoint.optimizer] == shapes
        if not fits or checkpoint.step > self.num_steps:
            raise incomplete(self._path)
        if len(checkpoint.records) > self._options.epochs:
            raise ParameterError(
                f"epochs must be at least those already trained to resume; received "
                f"{self._options.epochs}, and {len(checkpoint.records)} are done. Ask for more, or "
                f"train without resuming."
            )
        set_weights(self._model, checkpoint.weights)
        for variable, value in zip(self._optimizer.variables, checkpoint.optimizer, strict=True):
            variable.assign(value)
        self.records = checkpoint.records
        self.best_weights = checkpoint.best_weights
        self._step, self._loss_sum = checkpoint.step, checkpoint.loss_sum


def _by_step(values: NDArray[_Value], num_steps: int) -> NDArray[_Value]:
    """Values of the images of some steps, a row for each step."""
    return values.reshape(num_steps, -1, *values.shape[1:])


def _validate(
    predictor: Predictor, images: Images, held_out: NDArray[np.intp], loss: Loss
) -> float:
    total = 0.0
    for start in range(0, len(held_out), LARGEST_BATCH):
        originals = to_float(images[held_out[start : start + LARGEST_BATCH]])
        rebuilt = predictor.decode(predictor.encode(originals))
        pair = map(keras.ops.convert_to_tensor, (originals, rebuilt))
        total += float(loss(*pair)) * len(originals)
    return total / len(held_out)


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
