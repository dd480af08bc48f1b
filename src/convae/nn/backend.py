"""The one door to Keras: it settles the backend, then imports Keras; import `keras` from here."""

import importlib.util
import os
import sys

from convae.errors import MissingExtraError, ParameterError

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

__all__ = ["keras"]
