"""Ctrl-C, a kill, and going on as if nothing had happened; each process here costs seconds."""

import contextlib
import csv
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from convae import ConvAutoencoder
from convae.cli.main import main
from convae.report.runs import CHECKPOINT, MODEL
from convae.storage.files import open_whole
from convae.storage.safefile import read_tensors

CONVAE = Path(sys.executable).with_name("convae")
TIMEOUT_S = 120
# Who is stopped in the midst must not leave half an entry in the cache that the tests share.
NO_CACHE = {"JAX_ENABLE_COMPILATION_CACHE": "false"}
# A hundred steps an epoch: enough to be interrupted in the midst of one.
RECIPE = (
    *("--filters", "4", "--latent-dim", "3", "--batch-size", "4", "--optimizer", "adam"),
    *("--learning-rate", "0.001", "--learning-rate-schedule", "constant"),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "images.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (400, 8, 8), dtype=np.uint8))
    return path


def train(data, out, *arguments):
    return main(["train", str(data), "--out", str(out), *RECIPE, *arguments])


@pytest.fixture(scope="module")
def unbroken(data, tmp_path_factory):
    """The folder of a run of four epochs that nobody interrupted."""
    out = tmp_path_factory.mktemp("unbroken")
    assert train(data, out, "--epochs", "4") == 0
    return out


def start(data, out, *arguments, **options):
    command = [CONVAE, "train", data, "--out", out, *RECIPE, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, **options)


def wait_for_line(stream, beginning):
    for line in stream:
        if line.startswith(beginning):
            return
    pytest.fail(f"the process ended without a line that begins with {beginning!r}")


def read_history(out):
    with (out / "history.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [{name: value for name, value in row.items() if name != "elapsed_s"} for row in rows]


def same_run(out, other):
    assert read_history(out) == read_history(other)
    assert (out / MODEL).read_bytes() == (other / MODEL).read_bytes()


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


@contextlib.contextmanager
def ctrl_c_at(epoch, step):
    """In the block, Ctrl-C is pressed after this step of this epoch."""
    pressed_at = (epoch, step)

    class PressCtrlC:
        def start(self, num_epochs, num_steps):
            pass

        def step(self, epoch, step, loss):
            if (epoch, step) == pressed_at:
                signal.raise_signal(signal.SIGINT)

        def epoch(self, record):
            pass

        def stop(self):
            pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("convae.cli.training.TrainingProgress", PressCtrlC)
        patch.setattr("convae.nn.train.LONGEST_CALL_S", 0.0)  # a step a call
        yield


def test_ctrl_c_in_mid_epoch_leaves_a_checkpoint_to_go_on_from(data, unbroken, tmp_path, command):
    with start(data, tmp_path, "--epochs", "4", stderr=subprocess.PIPE, text=True) as process:
        wait_for_line(process.stderr, "epoch 1/4")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=TIMEOUT_S)
    checkpoint = tmp_path / CHECKPOINT
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == (
        f"Interrupted; the training so far is kept in {checkpoint}. Go on with the same command "
        f"and --resume."
    )
    assert "Traceback" not in err
    assert err.count("nterrupted") == 1
    assert names_in(tmp_path) == [CHECKPOINT]
    _, document = read_tensors(checkpoint)
    assert 0 < document["step"] <= 100
    assert 1 <= len(document["records"]) < 4

    before = checkpoint.read_bytes()
    arguments = ("train", data, "--out", tmp_path, *RECIPE, "--epochs", "4")
    done = command(*arguments)
    assert done.code == 1
    assert done.err.startswith(
        "Error: An unfinished training must not be replaced without --overwrite; "
    )
    assert checkpoint.read_bytes() == before

    assert command(*arguments, "--resume").code == 0
    same_run(tmp_path, unbroken)


@pytest.fixture
def terminal():
    """The two ends of a pseudo-terminal: ours to read, and the program's."""
    ours, theirs = pty.openpty()
    yield ours, theirs
    for end in (ours, theirs):
        with contextlib.suppress(OSError):
            os.close(end)


def read_until(terminal, text):
    shown = b""
    end = time.monotonic() + TIMEOUT_S
    while text not in shown and time.monotonic() < end:
        shown += os.read(terminal, 2**16)
    assert text in shown
    return shown.decode()


def test_a_kill_in_mid_epoch_costs_that_epoch_alone(data, unbroken, tmp_path, terminal):
    ours, theirs = terminal
    environment = {**os.environ, "TERM": "xterm", **NO_CACHE}
    with start(data, tmp_path, "--epochs", "3", stderr=theirs, env=environment) as process:
        os.close(theirs)
        # An epoch is shown before it is kept; the one after it is under way when this is shown.
        shown = read_until(ours, b"epoch 2/3  loss")
        process.kill()
        process.wait(TIMEOUT_S)
    assert "━" in shown
    assert "epoch 1/3  loss" in shown
    assert MODEL not in names_in(tmp_path)
    _, document = read_tensors(tmp_path / CHECKPOINT)
    assert 1 <= len(document["records"]) < 3

    assert train(data, tmp_path, "--epochs", "3", "--resume") == 0
    assert read_history(tmp_path) == read_history(unbroken)[:3]
    # The finished run, longer after all.
    assert train(data, tmp_path, "--epochs", "4", "--resume") == 0
    same_run(tmp_path, unbroken)


def test_ctrl_c_before_the_first_step_leaves_nothing(data, tmp_path):
    options = {"stderr": subprocess.PIPE, "text": True, "env": {**os.environ, **NO_CACHE}}
    with start(data, tmp_path, **options) as process:
        wait_for_line(process.stderr, str(data))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, out) == (130, "")
    assert err.strip() == "Interrupted."
    assert names_in(tmp_path) == []


def test_ctrl_c_in_demo_names_a_command_that_goes_on(command, tmp_path, monkeypatch):
    def interrupt(_, images, run):
        Path(run.checkpoint_path).write_bytes(b"kept")
        raise KeyboardInterrupt

    monkeypatch.setattr(ConvAutoencoder, "fit", interrupt)
    monkeypatch.setenv("CONVAE_DATA", str(tmp_path))
    images = np.zeros((2, 28, 28), np.uint8)
    np.savez(tmp_path / "mnist.npz", x_train=images, x_test=images)
    out = tmp_path / "my demo"
    done = command("demo", "--out", out)
    assert (done.code, done.out) == (130, "")
    assert done.err.splitlines()[-1].endswith(
        f"Go on with convae train mnist --epochs 2 --out '{out}' --resume."
    )


def test_ctrl_c_speaks_of_no_checkpoint_that_this_run_did_not_write(command, tmp_path, data):
    (tmp_path / CHECKPOINT).write_bytes(b"of another run")

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ConvAutoencoder, "fit", interrupt)
        done = command("train", data, "--out", tmp_path, "--overwrite")
        assert (done.code, done.err.splitlines()[-1]) == (130, "Interrupted.")
        done = command("train", data, "--out", tmp_path, "--resume")
        assert done.code == 130
        assert done.err.endswith("Go on with the same command.\n")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--filters", "8"), "filters=[4], received [8]"),
        (("--latent-dim", "4"), "latent_dim=3, received 4"),
        (("--batch-size", "8"), "batch_size=4, received 8"),
        (("--seed", "1"), "seed=0, received 1"),
        (("--loss", "mae"), "loss='mse', received 'mae'"),
        (("--learning-rate", "0.1"), "learning_rate=0.001, received 0.1"),
        (("--validation-split", "0.1"), "validation_split=0.0, received 0.1"),
        (("--size", "9"), "height=8, received 9"),
        (("--channels", "3"), "channels=1, received 3"),
    ],
)
def test_another_option_is_named_and_refused(command, data, unbroken, tmp_path, arguments, named):
    shutil.copytree(unbroken, tmp_path, dirs_exist_ok=True)
    command_line = ("train", data, "--out", tmp_path, *RECIPE, "--epochs", "4", "--resume")
    done = command(*command_line, *arguments)
    assert (done.code, done.out) == (1, "")
    message = done.err.splitlines()[-1]
    assert message.startswith("Error: A resumed run must match the interrupted one; ")
    assert named in message
    assert names_in(tmp_path) == names_in(unbroken)
    for name in names_in(unbroken):
        assert (tmp_path / name).read_bytes() == (unbroken / name).read_bytes()


def test_other_images_are_refused(command, data, unbroken, tmp_path):
    shutil.copytree(unbroken, tmp_path / "out")
    images = np.load(data)
    images[7, 3, 3] ^= 1
    np.save(tmp_path / "images.npy", images)
    arguments = (*RECIPE, "--epochs", "4", "--resume")
    done = command("train", tmp_path / "images.npy", "--out", tmp_path / "out", *arguments)
    assert (done.code, done.out) == (1, "")
    assert "A resumed run must match the interrupted one; " in done.err
    assert "was trained on other images than those received" in done.err
    same_run(tmp_path / "out", unbroken)


def test_a_training_on_stored_images_goes_on_from_the_store_or_from_the_data(
    command, data, unbroken, tmp_path
):
    packed, store, out = tmp_path / "images.npz", tmp_path / "images.npy", tmp_path / "out"
    np.savez(packed, np.load(data))
    rest = ("--out", out, "--epochs", "4", *RECIPE)
    with ctrl_c_at(2, 3):
        assert command("train", packed, "--store", store, *rest).code == 130
    assert np.array_equal(np.load(store)[..., 0], np.load(data))
    for images in ((store,), (packed, "--store", store)):
        again = tmp_path / f"from {images[0].name}"
        shutil.copytree(out, again)
        assert command("train", *images, *rest, "--out", again, "--resume").code == 0
        same_run(again, unbroken)


def test_early_stopping_counts_the_epochs_before_the_interruption(command, data, tmp_path):
    few = tmp_path / "few.npy"
    np.save(few, np.load(data)[:48])
    passes = ("--encoder-passes", "1")  # with two, hardly an epoch gets worse
    options = ("--epochs", "60", "--patience", "2", "--learning-rate", "0.05", *passes, *RECIPE)
    arguments = ("train", few, "--validation-split", "0.5", *options)
    assert command(*arguments, "--out", tmp_path / "unbroken").code == 0
    num_epochs = len(read_history(tmp_path / "unbroken"))
    assert 3 <= num_epochs < 60

    with ctrl_c_at(num_epochs, 3):
        assert command(*arguments, "--out", tmp_path / "broken").code == 130
    _, document = read_tensors(tmp_path / "broken" / CHECKPOINT)
    assert (len(document["records"]), document["step"]) == (num_epochs - 1, 3)
    assert command(*arguments, "--out", tmp_path / "broken", "--resume").code == 0
    same_run(tmp_path / "broken", tmp_path / "unbroken")
    # Once more: it is finished, and stays what it is.
    assert command(*arguments, "--out", tmp_path / "broken", "--resume").code == 0
    same_run(tmp_path / "broken", tmp_path / "unbroken")


def test_a_ctrl_c_that_a_callback_swallows_comes_back():
    program = """
import sys, time
import convae.cli.main

class Swallows:
    def __del__(self):
        raise KeyboardInterrupt

def wait(arguments):
    value = Swallows()
    del value
    for _ in range(200):
        time.sleep(0.05)

convae.cli.main.commands.callback = None
convae.cli.main.commands.main = lambda *_, **__: wait(None)
convae.cli.main.entry_point()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert (done.returncode, done.stderr) == (130, "Interrupted.\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_request_to_end_does_what_ctrl_c_does(data, tmp_path, number):
    # As a shell starts it, whatever the tests themselves ignore.
    usual = "import os, signal, sys; signal.signal(int(sys.argv[1]), signal.SIG_DFL);"
    usual += "os.execv(sys.argv[2], sys.argv[2:])"
    command = [
        sys.executable,
        "-c",
        usual,
        str(int(number)),
        CONVAE,
        "train",
        data,
        "--out",
        tmp_path,
    ]
    with subprocess.Popen(
        [*command, *RECIPE, "--epochs", "4"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_for_line(process.stderr, "epoch 1/4")
        process.send_signal(number)
        out, err = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, out) == (130, "")
    assert "Interrupted; the training so far is kept in" in err
    assert names_in(tmp_path) == [CHECKPOINT]


def test_ctrl_c_ends_quietly_from_the_first_moment(tmp_path):
    """The program is stopped while it imports its modules."""
    for delay_s in (0.0, 0.03, 0.06, 0.1, 0.15, 0.2):
        # Python's own beginning, before any line of ours, is not ours to guard.
        program = "import sys; from convae.cli import start; sys.argv[1:] = ['info'];"
        program += "print('ready', file=sys.stderr, flush=True); start.entry_point()"
        with subprocess.Popen(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stderr.readline() == "ready\n"
            time.sleep(0.02 + delay_s)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=TIMEOUT_S)
        assert "Traceback" not in err
        # Where Python has put away its handlers already, the signal ends it just as quietly.
        assert process.returncode in (0, 130, -signal.SIGINT)


def test_what_a_killed_process_left_goes_with_the_next_run(tmp_path):
    """A file and a folder half written by one that is dead, and one that is being written."""
    program = f"""
import os, signal
from convae.storage.files import open_whole, results_folder
with results_folder({str(tmp_path)!r}) as work, open_whole({str(tmp_path / "x")!r}) as stream:
    (work / "half").write_bytes(b"half")
    stream.write(b"half")
    stream.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program])
    assert done.returncode == -signal.SIGKILL
    assert len(names_in(tmp_path)) == 2
    with open_whole(tmp_path / "other") as stream:
        assert len(names_in(tmp_path)) == 1
        stream.write(b"whole")
        again = (
            f"from convae.storage.files import write_whole as w; w({str(tmp_path)!r} + '/y', b'y')"
        )
        subprocess.run([sys.executable, "-c", again], check=True)
    assert names_in(tmp_path) == ["other", "y"]
    assert (tmp_path / "other").read_bytes() == b"whole"
