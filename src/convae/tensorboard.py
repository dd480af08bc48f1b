"""An observer that writes a TensorBoard log; it needs the extra `tensorboard`, not TensorFlow."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from convae.errors import MissingExtraError, OutputError

if TYPE_CHECKING:
    from convae.nn.train import EpochRecord


class TensorBoardLog:
    """Writes the losses and the learning rate of each epoch under `folder`.

    Args:
        folder: Where `tensorboard --logdir` shall look.

    Raises:
        MissingExtraError: tensorboardX is not installed.
        OutputError: The folder cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise MissingExtraError("A TensorBoard log", "tensorboard") from error
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            self._writer = SummaryWriter(str(folder))
        except OSError as error:
            raise OutputError(
                f"A TensorBoard log needs a folder that can be written; {folder} gave "
                f"'{error.strerror}'. Choose another folder."
            ) from error

    def start(self, num_epochs: int, num_steps: int) -> None:
        """Training begins."""

    def step(self, epoch: int, step: int, loss: float) -> None:
        """A step is done."""

    def epoch(self, record: "EpochRecord") -> None:
        """An epoch is done."""
        for name in ("loss", "val_loss", "learning_rate"):
            value = getattr(record, name)
            if value is not None:
                self._writer.add_scalar(name, value, record.epoch)

    def stop(self) -> None:
        """Training ends."""
        self._writer.close()
