"""Start the programs of this folder and read their answers, a line of JSON each; it times nothing.

They import nothing of convae, but for `ours.py`, and the interpreters of the environments that
`make` builds for them run them.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent.parent
KERAS_SCRIPT = FOLDER / "keras_script.py"
TORCH_LOOP = FOLDER / "torch_loop.py"
PYOD = FOLDER / "pyod_autoencoder.py"
PYTHAE = FOLDER / "pythae_models.py"
FLOW_MATCHING = FOLDER / "flow_matching.py"
OURS = FOLDER / "ours.py"

# Compiled anew each time, as on the day of the install.
ON_JAX = {"KERAS_BACKEND": "jax", "JAX_ENABLE_COMPILATION_CACHE": "false"}
ON_TENSORFLOW = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}


def peer_python(peer: str) -> str:
    """The interpreter that has a peer: `tensorflow`, `torch` or `pyod`.

    Raises:
        SystemExit: Its environment is not there.
    """
    path = ROOT / f".venv-{peer}" / "bin" / "python"
    if not path.exists():
        raise SystemExit(
            f"The peers run in environments of their own; {path.relative_to(ROOT)} is missing. "
            f"Make it with: make .venv-{peer}/installed"
        )
    return str(path)


def write_mnist(folder: str) -> Path:
    """Write MNIST as the peers read it: an uncompressed .npz of `x_train` and `x_test`, uint8.

    Raises:
        convae.DataUnavailableError: MNIST is not at hand.
    """
    from convae import load_dataset  # not where a benchmark has yet to say where convae lies

    dataset = load_dataset("mnist")
    path = Path(folder) / "mnist.npz"
    np.savez(path, x_train=dataset.train, x_test=np.asarray(dataset.test))
    return path


class Program:
    """One of the programs, running; leaving the block ends it.

    Args:
        name: What messages call it.
        command: The interpreter, the program and its options.
        environment: What is set for it beside what this process has.
    """

    def __init__(
        self, name: str, command: Sequence[object], environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self._command = [str(word) for word in command]
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 # leaving the block closes it
        self._started = time.perf_counter()
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, **(environment or {})},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def ask(self) -> dict[str, Any]:
        """Have a program that was started with `--on-request` measure once more; its answer."""
        if self._process.stdin is not None:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        return self.answer()[1]

    def answer(self) -> tuple[float, dict[str, Any]]:
        """The next answer, and at how many seconds after the start of the program it came.

        Raises:
            SystemExit: The program ended instead.
        """
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        elapsed_s = time.perf_counter() - self._started
        if not line:
            code = self._process.wait()
            self._errors.seek(0)
            last = "".join(self._errors.readlines()[-5:]).strip()
            raise SystemExit(
                f"A program under measurement must answer until it is told to end; {self.name} "
                f"ended with exit code {code}:\n{last}\nRun it alone: {' '.join(self._command)}"
            )
        document: dict[str, Any] = json.loads(line)
        return elapsed_s, document


def ours(*options: object) -> list[object]:
    """The command that runs `ours.py` with options."""
    return [sys.executable, OURS, *options]
