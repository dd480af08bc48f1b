"""The one door to Keras: it settles the backend, then imports Keras; import `keras` from here.

What Keras is told for a whole process (its type of floats, where channels stand) is the user's own:
layers state theirs, and `settled` keeps the rest out while a model is built or trained.
"""

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterator

from convae.errors import BackendError, MissingExtraError, ParameterError

BACKENDS = {"jax": "jax", "tensorflow": "tensorflow", "torch": "torch"}


def _choose_backend() -> None:
    """Settle `KERAS_BACKEND`: what the user set, else JAX.

    When Keras is imported already, its backend stays as it is.

    Raises:
        ParameterError: `KERAS_BACKEND` names no backend that trains.
        MissingExtraError: The backend's package is not installed.
    """
    if "keras" in sys.modules:
        return
    name = os.environ.setdefault("KERAS_BACKEND", "jax")
    if name not in BACKENDS:
        raise ParameterError(
            f"KERAS_BACKEND must be one of {', '.join(BACKENDS)}; received {name!r}. "
            f"Unset it to use JAX."
        )
    if importlib.util.find_spec(BACKENDS[name]) is None:
        raise MissingExtraError(f"KERAS_BACKEND={name}", name)
    # TensorFlow greets with lines about the processor, which are no user's business.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


_choose_backend()
import keras  # noqa: E402 # only now

__all__ = ["keras", "settled", "start"]

FLOATS = "float32"
_started_in: int | None = None


def start() -> None:
    """Call before computing: it starts the backend, or says why this process cannot compute.

    Raises:
        BackendError: The backend finds no device, or the process was forked from one that computed.
    """
    global _started_in
    backend = keras.backend.backend()
    if _started_in is None:
        if backend == "jax":
            _start_jax()
        _started_in = os.getpid()
    # The threads of the libraries are not in a forked process, which would wait for them forever.
    if _started_in != os.getpid() and backend != "torch":
        raise BackendError(
            f"A process must not be forked from one that has computed with {backend}; this one "
            f"was. Start it with the method 'spawn' or 'forkserver' of multiprocessing."
        )


def _start_jax() -> None:
    import jax

    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # an assertion where CUDA is absent
        wanted = os.environ.get("JAX_PLATFORMS", "")
        reason = " ".join(str(error).split()) or "no device"
        raise BackendError(
            f"JAX must find a device to compute on; with JAX_PLATFORMS={wanted!r} it gave "
            f"'{reason}'. Unset JAX_PLATFORMS, or install JAX for the device."
        ) from error


@contextlib.contextmanager
def settled() -> Iterator[None]:
    """Within the block, what Keras makes is float32; the process's own setting comes back."""
    before = keras.config.floatx()
    keras.config.set_floatx(FLOATS)
    try:
        yield
    finally:
        keras.config.set_floatx(before)
