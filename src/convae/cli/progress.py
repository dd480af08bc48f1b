"""Progress: a bar on a terminal, and a line for each epoch."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from convae.cli.output import say

if TYPE_CHECKING:
    from rich.progress import Progress

    from convae.architecture.history import EpochRecord


def _on_terminal() -> bool:
    # sys.stderr is None if the process was started without one (2>&-).
    return sys.stderr is not None and sys.stderr.isatty()


def _bar() -> "Progress":
    # Imported here: most commands show no bar, and the import takes as long as everything else.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        # Brackets in a path are not markup.
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(file=sys.stderr),
        transient=True,
    )


class TrainingProgress:
    """An observer that shows a training on standard error.

    On a terminal, a bar for the current epoch; everywhere, a line for each finished epoch.
    """

    def __init__(self) -> None:
        self._bar = _bar() if _on_terminal() else None
        self._num_epochs = 0
        self._num_steps = 0

    def start(self, num_epochs: int, num_steps: int) -> None:
        """Training begins."""
        self._num_epochs, self._num_steps = num_epochs, num_steps
        if self._bar:
            self._bar.start()
            self._task = self._bar.add_task("compiling", total=num_steps)

    def step(self, epoch: int, step: int, loss: float) -> None:
        """A step is done."""
        if self._bar:
            text = f"epoch {epoch}/{self._num_epochs}  loss {loss:.5f}"
            self._bar.update(self._task, completed=step, description=text)

    def epoch(self, record: "EpochRecord") -> None:
        """An epoch is done."""
        text = f"epoch {record.epoch}/{self._num_epochs}  loss {record.loss:.5f}"
        if record.val_loss is not None:
            text += f"  val_loss {record.val_loss:.5f}"
        text += f"  {record.elapsed_s:.1f} s"
        if self._bar:
            self._bar.print(text, highlight=False)
        else:
            say(text, err=True)

    def stop(self) -> None:
        """Training ends."""
        if self._bar:
            self._bar.stop()


@contextmanager
def counted(description: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for work that reports (done, all); shown from the first report, only on a terminal."""
    if not _on_terminal():
        yield lambda done, total: None  # noqa: ARG005 # nothing to show
        return
    bar = _bar()
    task = bar.add_task(description, total=None)

    def report(done: int, total: int) -> None:
        # Started late: a terminal shows one bar at a time, and a training may have shown its own.
        bar.start()
        bar.update(task, completed=done, total=total)

    try:
        yield report
    finally:
        bar.stop()
