"""An observer that writes a TensorBoard log; it needs the extra `tensorboard`, not TensorFlow."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convae.errors import MissingExtraError, OutputError

if TYPE_CHECKING:
    from convae.architecture.history import EpochRecord


class TensorBoardLog:
    """Writes the losses and the learning rate of each epoch under `folder`.

    Each training adds a file to the folder, a resumed one too; TensorBoard joins them.

    Args:
        folder: The folder for `tensorboard --logdir`.

    Raises:
        MissingExtraError: tensorboardX is not installed.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        try:
            # Its SummaryWriter writes in a thread, which dies of a full disk while we wait for it.
            from tensorboardX.proto.event_pb2 import Event
            from tensorboardX.record_writer import RecordWriter
            from tensorboardX.summary import scalar
        except ImportError as error:
            raise MissingExtraError("A TensorBoard log", "tensorboard") from error
        # tensorboardX takes what precedes a colon for the name of a cloud store.
        self._folder = Path(folder).absolute()
        self._make_event, self._make_scalar, self._open = Event, scalar, RecordWriter
        self._writer: Any = None

    def start(self, num_epochs: int, num_steps: int) -> None:  # noqa: ARG002 # the protocol's
        """Training begins.

        Raises:
            OutputError: The folder cannot be written.
        """
        name = f"events.out.tfevents.{time.time():.0f}.{os.getpid()}"
        with self._refusing():
            self._folder.mkdir(parents=True, exist_ok=True)
            self._writer = self._open(str(self._folder / name))
            self._write(self._make_event(wall_time=time.time(), file_version="brain.Event:2"))

    def step(self, epoch: int, step: int, loss: float) -> None:
        """A step is done."""

    def epoch(self, record: "EpochRecord") -> None:
        """An epoch is done.

        Raises:
            OutputError: The log cannot be written.
        """
        values = {name: getattr(record, name) for name in ("loss", "val_loss", "learning_rate")}
        with self._refusing():
            self._write(
                *(
                    self._make_event(
                        wall_time=time.time(),
                        step=record.epoch,
                        summary=self._make_scalar(name, value),
                    )
                    for name, value in values.items()
                    if value is not None
                )
            )

    def stop(self) -> None:
        """Training ends."""
        if self._writer is not None:
            # All is flushed, except what `epoch` reported as failed.
            with contextlib.suppress(OSError):
                self._writer.close()

    def _write(self, *events: Any) -> None:  # noqa: ANN401 # tensorboardX has no annotations
        for event in events:
            self._writer.write(event.SerializeToString())
        self._writer.flush()

    @contextlib.contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"A TensorBoard log needs a folder that can be written; {self._folder} gave "
                f"'{error.strerror}'. Choose another folder or make room there."
            ) from error
