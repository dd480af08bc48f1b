"""What a training keeps on the disk, and who watches it; weights do not depend on these."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from convae.architecture.history import EpochRecord


class Observer(Protocol):
    """Something that watches a training: a progress bar, a log."""

    def start(self, num_epochs: int, num_steps: int) -> None:
        """Training begins: so many epochs of so many steps."""

    def step(self, epoch: int, step: int, loss: float) -> None:
        """Step `step` of epoch `epoch`, both from 1, is done; `loss` is the epoch's mean so far."""

    def epoch(self, record: EpochRecord) -> None:
        """An epoch is done."""

    def stop(self) -> None:
        """Training ends, well or not."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a training keeps on the disk, and who is told of it; the weights do not depend on it.

    Args:
        checkpoint_path: Where the state is kept after an epoch (but for those that follow within
            two seconds), every minute, on Ctrl-C and at the end; None keeps none.
        resume: Resume from the file at `checkpoint_path`; the history is as in an unbroken run.
        observers: They are told of each step and epoch.
    """

    checkpoint_path: str | os.PathLike[str] | None = None
    resume: bool = False
    observers: Sequence[Observer] = ()


UNOBSERVED = RunOptions()
