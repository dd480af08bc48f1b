"""Batch normalization's statistics, recomputed from images under the weights as they are now.

While training, BatchNormalization uses the statistics of each batch and lets moving averages creep
after them by 1 % a step, for use afterwards. When a run has only some hundred steps, as it has on a
small folder of pictures, the averages lag far behind the weights and a well-trained network
reconstructs badly. Recomputing them is how the method was first described (Ioffe and Szegedy,
"Batch normalization", 2015, algorithm 2).
"""

import numpy as np
from numpy.typing import NDArray

from convae.errors import ParameterError
from convae.images import to_float
from convae.nn.backend import keras
from convae.nn.predict import LARGEST_BATCH, Predictor, Span

MOST_IMAGES = 2048


class StatisticsRecomputer:
    """Recomputes the moving means and variances of a model; it can be called again and again.

    Args:
        model: The result of `convae.nn.build.build_model`.
        predictor: That of the model.
        images: uint8, or float32 in [0, 1], `(num_images, height, width, channels)`.
        chosen: Indices of those trained on; at most 2,048 of them, evenly spread, are used.
    """

    def __init__(
        self,
        model: keras.Model,
        predictor: Predictor,
        images: NDArray[np.generic],
        chosen: NDArray[np.intp],
    ) -> None:
        self._model, self._predict = model, predictor
        spread = np.linspace(0, len(chosen) - 1, min(len(chosen), MOST_IMAGES)).astype(int)
        self._images = to_float(images[chosen[spread]])

    def __call__(self) -> None:
        """Set the statistics of every layer, from the images inwards and out again.

        Raises:
            ParameterError: The weights have diverged.
        """
        self._settle("encoder", self._images)
        latents = self._predict(self._images, self._predict.whole("encoder"))
        self._settle("decoder", latents)

    def _settle(self, part: str, inputs: NDArray[np.float32]) -> None:
        # In the order of the layers: what a layer sees depends on the statistics before it.
        layers = self._predict.layers(part)
        places = [n for n, layer in enumerate(layers) if layer.kind == "BatchNormalization"]
        spans: list[Span] = []
        for place in places:
            layer = self._model.get_layer(part).get_layer(layers[place].name)
            # One more span each time, so that each layer is compiled once.
            spans.append(Span(part, spans[-1].stop if spans else 0, place))
            total = squares = np.float64(0)
            count = 0
            for start in range(0, len(inputs), LARGEST_BATCH):
                seen = self._predict(inputs[start : start + LARGEST_BATCH], *spans)
                count += seen[..., 0].size
                total = total + seen.sum(axis=(0, 1, 2), dtype=np.float64)
                squares = squares + np.square(seen, dtype=np.float64).sum(axis=(0, 1, 2))
            mean = total / count
            variance = np.maximum(squares / count - mean**2, 0)
            if not variance.max() < np.finfo(np.float32).max:
                raise ParameterError(
                    f"Training must keep what the layers compute finite; {part}/{layer.name} saw a "
                    f"variance of {variance.max():.3g}. Lower learning_rate."
                )
            layer.moving_mean.assign(mean.astype(np.float32))
            layer.moving_variance.assign(variance.astype(np.float32))
