"""Learn what pixels are beneath their noise from noisy images alone.

Some values are hidden from a network, which says from all others how likely each level of the clean
value is. What was seen there is that value plus gaussian noise, clipped and rounded to a byte; so
the likelihood of what was seen teaches both the levels and the noise. The idea of the hidden pixel
is that of Krull, Buchholz and Jug, "Noise2Void", 2019, and of Batson and Royer, "Noise2Self", 2019;
that of mixing in what was seen there is of Laine et al., "High-quality self-supervised deep image
denoising", 2019. Here the levels are free, so that a value may be black or white, and what was
clipped counts as what lay beyond.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from convae.architecture.unet import UNet
from convae.nn.backend import FLOATS, keras, settled, start
from convae.nn.optimizers import Muon
from convae.nn.stepping import CompiledStep, compile_step, falling_rates, train_in_steps
from convae.nn.unet import LEARNING_RATE, NUM_PARTS, WARM_UP, Operations, draw_weights

ops = keras.ops
Floats = NDArray[np.float32]
Inputs: TypeAlias = dict[str, NDArray[Any]]

BYTES = 256
# Noise and levels that are spread explain what is seen equally well, so the noise is taken to be as
# strong as it can be: it gains so many nats for a factor e.
STRONGER_IS_LIKELIER = 0.01
LEAST_PROBABILITY = 1e-12


class BlindModel(keras.Model):  # type: ignore[misc] # Keras is untyped
    """The network that guesses hidden values, and the noise that it found.

    Args:
        channels: Of the images.
        num_levels: Of a clean value, from black to white.
        widths: Of the U-Net.
        blocks: Of the U-Net.
    """

    def __init__(
        self, channels: int, num_levels: int, widths: tuple[int, ...], blocks: tuple[int, ...]
    ) -> None:
        super().__init__(name="blind", dtype=FLOATS)
        self.channels, self.num_levels = channels, num_levels
        self.plan = UNet(2 * channels, channels * num_levels, widths, blocks)
        self.weights_by_name = {
            name: self.add_weight(shape=shape, initializer="zeros", name=name, dtype=FLOATS)
            for name, shape in self.plan.weight_shapes().items()
        }
        settings = {"initializer": "zeros", "dtype": FLOATS}
        self._bias = self.add_weight(shape=(num_levels,), name="bias", **settings)
        self._log_deviation = self.add_weight(shape=(1,), name="log_deviation", **settings)
        self.built = True

    @property
    def deviation(self) -> float:
        """Standard deviation of the noise, of values in [0, 1]."""
        return math.exp(ops.convert_to_numpy(self._log_deviation.value).item())

    @deviation.setter
    def deviation(self, value: float) -> None:
        self._log_deviation.assign([math.log(value)])

    def call(self, given: dict[str, Any]) -> Any:  # noqa: ANN401 # a tensor of any backend
        """The cost of what was seen, in nats; mean and variance of the clean value: `(..., 3)`."""
        seen, hidden = given["seen"], given["hidden"]
        weights = {name: weight.value for name, weight in self.weights_by_name.items()}
        shown = ops.cast(seen, "float32") / (BYTES - 1) * (1 - hidden)
        guess = self.plan.compute(ops.concatenate([shown, hidden], -1), weights, Operations())
        shape = (-1, *seen.shape[1:], self.num_levels)
        guess = ops.log_softmax(ops.reshape(guess, shape) + self._bias)
        likely = guess + ops.take(ops.log(self._probabilities()), seen, axis=0)
        cost = -ops.logsumexp(likely, axis=-1) - STRONGER_IS_LIKELIER * self._log_deviation
        levels = ops.convert_to_tensor(np.linspace(0, 1, self.num_levels, dtype=np.float32))
        shares = ops.softmax(likely)
        mean = ops.sum(shares * levels, axis=-1)
        variance = ops.sum(shares * ops.square(levels), axis=-1) - ops.square(mean)
        return ops.stack([cost, mean, variance], axis=-1)

    def _probabilities(self) -> Any:  # noqa: ANN401
        """Of each byte, by the level beneath it: `(256, num_levels)`."""
        edges = (np.arange(BYTES - 1) + 0.5) / (BYTES - 1)
        distances = (edges[:, np.newaxis] - np.linspace(0, 1, self.num_levels)).astype(np.float32)
        scale = ops.exp(-self._log_deviation) / math.sqrt(2)
        below = (1 + ops.erf(distances * scale)) / 2
        below = ops.pad(below, ((1, 0), (0, 0)))
        below = ops.pad(below, ((0, 1), (0, 0)), constant_values=1.0)
        return ops.maximum(below[1:] - below[:-1], LEAST_PROBABILITY)


@settled()
def train_blind(
    model: BlindModel,
    batches: Iterable[Inputs],
    num_steps: int,
    deviation: float,
    seed: int,
    *,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Train a model in place.

    Args:
        model: Made for nothing else.
        batches: `num_steps` of them: `seen`, int32 bytes, and `hidden`, float32 0 or 1, both
            `(batch, height, width, channels)`.
        num_steps: Steps of training, 1 or more.
        deviation: Where the search for that of the noise begins.
        seed: Decides the first weights.
        progress: Called with the steps done.
    """

    def counted() -> Iterator[tuple[Inputs, NDArray[Any]]]:
        for step, batch in enumerate(batches, start=1):
            yield batch, batch["hidden"]
            if progress is not None:
                progress(step)

    start()
    draw_weights(model.weights_by_name, seed)
    model.deviation = deviation
    compiled = _compiled(model.channels, model.num_levels, model.plan.widths, model.plan.blocks)
    rates = falling_rates(num_steps, LEARNING_RATE, WARM_UP)
    train_in_steps(model, Muon, _mean_cost, counted(), rates, compiled, NUM_PARTS)


@settled()
def clean_values(model: BlindModel, batch: Inputs) -> tuple[Floats, Floats]:
    """What each hidden value may be, given all others and what was seen there.

    Args:
        model: Trained.
        batch: As in `train_blind`.

    Returns:
        Its mean and its variance, float32 `(batch, height, width, channels)`, NaN where nothing was
        hidden.
    """
    found = np.asarray(model.predict_on_batch(batch))
    means, variances = np.where(batch["hidden"] > 0, np.moveaxis(found[..., 1:], -1, 0), np.nan)
    return means.astype(np.float32), variances.astype(np.float32)


@lru_cache(maxsize=4)
def _compiled(*shape: Any) -> CompiledStep | None:  # noqa: ANN401 # arguments of BlindModel
    return compile_step(BlindModel(*shape), Muon(), _mean_cost)


def _mean_cost(hidden: Any, outputs: Any) -> Any:  # noqa: ANN401 # tensors of any backend
    return ops.sum(hidden * outputs[..., 0]) / ops.maximum(ops.sum(hidden), 1)
