import contextlib
import os
import pty
import sys
import threading

import pytest

from convae.architecture.history import EpochRecord
from convae.cli.progress import TrainingProgress, counted

RECORD = EpochRecord(epoch=1, loss=0.25, val_loss=None, learning_rate=1e-3, elapsed_s=2.0)
VALIDATED = EpochRecord(epoch=2, loss=0.125, val_loss=0.5, learning_rate=1e-3, elapsed_s=3.0)


@pytest.fixture
def open_terminal(monkeypatch):
    """Makes standard error a terminal; call what it returns, at the end, for what was shown."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    ours, theirs = pty.openpty()
    stream = open(theirs, "w", encoding="utf-8", errors="backslashreplace")  # noqa: PTH123, SIM115
    chunks = []

    def read():
        # Reading gives an error when the other end is closed.
        with contextlib.suppress(OSError):
            while chunk := os.read(ours, 2**16):
                chunks.append(chunk)

    # All the time, for a terminal that nobody reads stops its writer.
    reader = threading.Thread(target=read)
    reader.start()

    def shown():
        stream.close()
        reader.join()
        return b"".join(chunks).decode()

    def open_now():
        monkeypatch.setattr(sys, "stderr", stream)
        return shown

    yield open_now
    shown()
    os.close(ours)


def watch(observer):
    observer.start(2, 50)
    for step in range(1, 51):
        observer.step(1, step, 0.25)
    observer.epoch(RECORD)
    observer.step(2, 1, 0.125)
    observer.epoch(VALIDATED)
    observer.stop()


def test_without_a_terminal_each_epoch_is_a_line_on_standard_error(capsys):
    watch(TrainingProgress())
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "epoch 1/2  loss 0.25000  2.0 s",
        "epoch 2/2  loss 0.12500  val_loss 0.50000  3.0 s",
    ]


def test_on_a_terminal_there_are_a_bar_and_the_same_lines(open_terminal, capsys):
    read_terminal = open_terminal()
    watch(TrainingProgress())
    shown = read_terminal()
    assert "━" in shown
    assert "compiling" in shown
    assert " 0/50" in shown
    assert "epoch 1/2  loss 0.25000  2.0 s\r\n" in shown
    assert "epoch 2/2  loss 0.12500  val_loss 0.50000  3.0 s\r\n" in shown
    # The bar goes, and the cursor comes back.
    assert shown.rindex("\x1b[?25h") > shown.rindex("━")
    assert shown.endswith("\x1b[2K")
    assert capsys.readouterr().out == ""


def test_on_a_terminal_reading_has_a_bar(open_terminal):
    read_terminal = open_terminal()
    with counted("reading pictures") as progress:
        progress(3, 10)
    shown = read_terminal()
    assert "reading pictures" in shown
    assert "━" in shown


@pytest.mark.parametrize("name", ["[bold]", "[/nothing]", "[red]x[/red]", "{task}", "a\udcffb"])
def test_a_path_is_no_markup(open_terminal, name):
    read_terminal = open_terminal()
    with counted(f"reading {name}") as progress:
        progress(1, 2)
    assert f"reading {name}".encode(errors="backslashreplace").decode() in read_terminal()


def test_without_a_terminal_reading_says_nothing(capsys):
    with counted("reading pictures") as progress:
        progress(3, 10)
    assert capsys.readouterr() == ("", "")


def test_without_standard_error_nothing_is_shown_and_nothing_fails(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", None)
    watch(TrainingProgress())
    with counted("reading pictures") as progress:
        progress(3, 10)
    assert capsys.readouterr().out == ""
