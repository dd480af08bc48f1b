"""Run a Keras model over many inputs in batches of bounded memory."""

import math

import numpy as np
from numpy.typing import NDArray

from convae.nn.backend import keras

LARGEST_BATCH = 256
# Beyond so many pixels in a batch the volumes of the first layers would fill the memory.
MOST_PIXELS = 2**20


def predict(model: keras.Model, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """The outputs of `model` for all `inputs`, in inference mode.

    The last batch is filled up to a power of two, so that few batch shapes are ever compiled.

    Args:
        model: Any of `autoencoder`, `encoder`, `decoder`.
        inputs: float32 `(num_inputs, ...)`.

    Returns:
        float32 `(num_inputs, ...)`.
    """
    num_pixels = max(math.prod(shape[1:3]) for shape in (model.input_shape, model.output_shape))
    largest = min(LARGEST_BATCH, max(1, MOST_PIXELS // num_pixels))
    outputs: NDArray[np.float32] | None = None
    for start in range(0, len(inputs), largest):
        batch = inputs[start : start + largest]
        size = len(batch)
        missing = (1 << (size - 1).bit_length()) - size
        if missing:
            batch = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
        results = np.asarray(model.predict_on_batch(batch))[:size]
        if outputs is None:
            outputs = np.empty((len(inputs), *results.shape[1:]), dtype=np.float32)
        outputs[start : start + size] = results
    if outputs is None:
        return np.empty((0, *model.output_shape[1:]), dtype=np.float32)
    return outputs
