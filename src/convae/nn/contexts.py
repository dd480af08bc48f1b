"""Train the network that `convae.coding.contexts` evaluates in integers: with gradients, rounded.

In every forward pass weights and activations are rounded as they will be kept; a gradient passes
through the rounding as if it were not there (Bengio, Leonard and Courville, "Estimating or
propagating gradients through stochastic neurons", 2013).
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convae.coding.contexts import (
    ACTIVATION_BITS,
    FIRST_BITS,
    HALF,
    LARGEST_ACTIVATION,
    SUM_BITS,
    WEIGHT_BITS,
    looked_up,
    table_shapes,
)
from convae.coding.prediction import CODED_CENTER, predict, relative
from convae.coding.samples import Contexts
from convae.nn.backend import FLOATS, keras, settled, start
from convae.nn.stepping import CompiledStep, compile_step, falling_rates, train_in_steps

ops = keras.ops
Batch = tuple[dict[str, NDArray[Any]], NDArray[np.float32]]

# Chosen on held-out images of MNIST's training split.
HIDDEN = 64
LEARNING_RATE = 3e-3
WARM_UP = 100
FIRST_SPREAD = 0.1
# A bias alone cannot bring a sum to where it is not exact.
LARGEST_BIAS = 1 << 20

# What 1 becomes in a table; where a bias is added to a sum, in that. Bytes are taken in [0, 1].
SCALES = {
    "window": 2.0**FIRST_BITS / 255,
    "values": 2.0**ACTIVATION_BITS,
    "rows": 2.0**ACTIVATION_BITS,
    "columns": 2.0**ACTIVATION_BITS,
    "hidden": 2.0**WEIGHT_BITS,
    "hidden_bias": 2.0**SUM_BITS,
    "high": 2.0**WEIGHT_BITS,
    "high_bias": 2.0**SUM_BITS,
    "low_hidden": 2.0**WEIGHT_BITS,
    "low_hidden_bias": 2.0**SUM_BITS,
    "low": 2.0**WEIGHT_BITS,
    "low_bias": 2.0**SUM_BITS,
}


@settled()
def train_contexts(
    draw: Callable[[], Contexts],
    plane: int,
    num_planes: int,
    num_steps: int,
    seed: int,
    *,
    by_distance: bool = False,
    bits: int = 8,
    look_up_decay: float = 0.0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, NDArray[Any]]:
    """The tables of one plane's network.

    Args:
        draw: Gives another batch each time, all of one size.
        plane: Which plane is predicted.
        num_planes: How many there are.
        num_steps: Steps of training, 1 or more.
        seed: Decides the first weights.
        by_distance: Whether the network is one of distances.
        bits: Of a value: 8 or 16.
        look_up_decay: Weight decay of the tables of what exact values say.
        progress: Called with the steps done and all steps.

    Returns:
        As `convae.coding.contexts.table_shapes` says.
    """

    def batches() -> Iterator[Batch]:
        for step in range(1, num_steps + 1):
            batch = draw()
            yield model_inputs(batch, plane, by_distance, bits), batch.weights
            if progress is not None:
                progress(step, num_steps)

    start()
    model = _ContextModel(plane, num_planes)
    model.draw(seed)
    train_in_steps(
        model,
        lambda: _make_optimizer(model, look_up_decay),
        _mean,
        batches(),
        falling_rates(num_steps, LEARNING_RATE, WARM_UP),
        _compiled(plane, num_planes, look_up_decay),
    )
    return model.tables()


@lru_cache(maxsize=8)
def _compiled(plane: int, num_planes: int, decay: float) -> CompiledStep | None:
    """A step, compiled once for all networks of a plane."""
    model = _ContextModel(plane, num_planes)
    return compile_step(model, _make_optimizer(model, decay), _mean)


def _make_optimizer(model: "_ContextModel", decay: float) -> keras.optimizers.Optimizer:
    optimizer = keras.optimizers.Adam(LEARNING_RATE, beta_2=0.99, weight_decay=decay)
    optimizer.exclude_from_weight_decay(
        [weight for name, weight in model.weights_by_name.items() if name != "values"]
    )
    return optimizer


def model_inputs(
    batch: Contexts, plane: int, by_distance: bool, bits: int
) -> dict[str, NDArray[Any]]:
    """Contexts, and the halves of what is coded in them, as the network in floats takes them."""
    inputs, coded = batch.inputs, batch.values
    if by_distance:
        coded = (coded + CODED_CENTER - predict(inputs, plane, bits)).astype(np.uint8)
        inputs = relative(inputs, plane, bits)
    return {
        "inputs": np.ascontiguousarray(inputs.reshape(-1, len(coded)).T),
        "places": np.stack([batch.rows, batch.columns], axis=1).astype(np.int32),
        "halves": np.stack(np.divmod(coded, HALF), axis=1).astype(np.int32),
    }


def _mean(weights: Any, nats: Any) -> Any:  # noqa: ANN401 # tensors of any backend
    return ops.sum(weights * nats) / ops.sum(weights)


class _ContextModel(keras.Model):  # type: ignore[misc] # Keras is untyped
    """The network in floats that hold the rounded numbers; its output is the cost in nats."""

    def __init__(self, plane: int, num_planes: int) -> None:
        super().__init__(name="context_model", dtype=FLOATS)
        self.plane, self.num_planes = plane, num_planes
        self._looked_up = looked_up(plane, num_planes)
        self._kinds = table_shapes(plane, num_planes, HIDDEN)
        self.weights_by_name = {
            name: self.add_weight(shape=shape, initializer="zeros", name=name, dtype=FLOATS)
            for name, (_, shape) in self._kinds.items()
        }
        self.built = True

    def draw(self, seed: int) -> None:
        """Draw the first weights."""
        random = np.random.default_rng(seed)
        for name in ("window", "hidden", "high", "low_hidden", "low"):
            weight = self.weights_by_name[name]
            spread = np.sqrt(2 / weight.shape[0])
            if name in ("high", "low"):
                spread *= FIRST_SPREAD
            weight.assign((spread * random.standard_normal(weight.shape)).astype(np.float32))

    def call(self, given: dict[str, Any]) -> Any:  # noqa: ANN401 # a tensor of any backend
        table = {name: self._round(name, weight) for name, weight in self.weights_by_name.items()}
        inputs, places, halves = given["inputs"], given["places"], given["halves"]
        sums = ops.matmul(ops.cast(inputs, "float32") / 255, table["window"])
        for slot, index in enumerate(self._looked_up):
            sums += ops.take(table["values"][slot], ops.cast(inputs[:, index], "int32"), axis=0)
        sums += ops.take(table["rows"], places[:, 0], axis=0)
        sums += ops.take(table["columns"], places[:, 1], axis=0)
        hidden = _activate(ops.matmul(_activate(sums), table["hidden"]) + table["hidden_bias"])
        high_logits = ops.matmul(hidden, table["high"]) + table["high_bias"]
        high, low = halves[:, 0], halves[:, 1]
        sums = ops.matmul(hidden, table["low_hidden"])
        sums += ops.take(table["low_hidden_bias"], high, axis=0)
        low_logits = ops.matmul(_activate(sums), table["low"])
        low_logits += ops.take(table["low_bias"], high, axis=0)
        cost = keras.losses.sparse_categorical_crossentropy
        return cost(high, high_logits, from_logits=True) + cost(low, low_logits, from_logits=True)

    def tables(self) -> dict[str, NDArray[Any]]:
        """The weights as the integers that they were rounded to."""
        return {
            name: np.rint(
                np.clip(ops.convert_to_numpy(self.weights_by_name[name]), *_range(name, kind))
                * SCALES[name]
            ).astype(kind)
            for name, (kind, _) in self._kinds.items()
        }

    def _round(self, name: str, weight: Any) -> Any:  # noqa: ANN401 # tensors of any backend
        scale = SCALES[name]
        clipped = ops.clip(weight, *_range(name, self._kinds[name][0]))
        return clipped + ops.stop_gradient(ops.round(clipped * scale) / scale - clipped)


def _activate(sums: Any) -> Any:  # noqa: ANN401 # tensors of any backend
    scale = 2.0**ACTIVATION_BITS
    clipped = ops.clip(sums, 0, LARGEST_ACTIVATION / scale)
    return clipped + ops.stop_gradient(ops.floor(clipped * scale) / scale - clipped)


def _range(name: str, kind: type) -> tuple[float, float]:
    """What the integers of a table can stand for."""
    limits = np.iinfo(kind)
    # The same on both sides.
    largest = min(limits.max, LARGEST_BIAS) / SCALES[name]
    return -largest, largest
