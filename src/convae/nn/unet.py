"""Train the network of `convae.architecture.unet` on any backend."""

import math
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convae.architecture.unet import UNet
from convae.nn.backend import FLOATS, keras, settled, start
from convae.nn.optimizers import Muon
from convae.nn.stepping import CompiledStep, compile_step, falling_rates, train_in_steps

ops = keras.ops
Floats = NDArray[np.float32]

# Chosen on held-out images of MNIST's training split and of small photographs.
LEARNING_RATE = 4e-3
WARM_UP = 100
# Of a batch; the same on every machine, since the sums are rounded.
NUM_PARTS = 4
# The first weights of a block's second convolution and of the last one are this much smaller, so
# that the network begins near what goes in.
FIRST_SPREADS = {"b": 0.5, "last": 0.3}


@settled()
def train_unet(
    plan: UNet,
    batches: Iterable[tuple[Floats, Floats]],
    num_steps: int,
    seed: int,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Floats]:
    """The weights with which images plus what the network makes of them are near other images.

    Args:
        plan: The network; it gives as many planes as it takes.
        batches: What goes in, and what should come out, float32 of one shape: `num_steps` pairs.
            Where the second is NaN, anything may come out.
        num_steps: Steps of training, 1 or more.
        seed: Decides the first weights.
        progress: Called with the steps done and all steps.

    Returns:
        As `plan.weight_shapes()` says.
    """

    def counted() -> Iterator[tuple[Floats, Floats]]:
        for step, batch in enumerate(batches, start=1):
            yield batch
            if progress is not None:
                progress(step, num_steps)

    start()
    model = _UNetModel(plan)
    draw_weights(model.weights_by_name, seed)
    rates = falling_rates(num_steps, LEARNING_RATE, WARM_UP)
    train_in_steps(model, Muon, _squared_error, counted(), rates, _compiled(plan), NUM_PARTS)
    return {
        name: np.array(ops.convert_to_numpy(weight.value))
        for name, weight in model.weights_by_name.items()
    }


def draw_weights(weights: dict[str, keras.Variable], seed: int) -> None:
    """Draw the first weights of a plan.

    Args:
        weights: Named as `UNet.weight_shapes` names them; they are assigned.
        seed: Decides them.
    """
    random = np.random.default_rng(seed)
    for name, weight in weights.items():
        # What is rectified loses half of its variance.
        spread = math.sqrt((2 if name.endswith("a") else 1) / math.prod(weight.shape[:-1]))
        spread *= FIRST_SPREADS.get("last" if name == "last" else name[-1], 1)
        weight.assign((spread * random.standard_normal(weight.shape)).astype(np.float32))


@lru_cache(maxsize=4)
def _compiled(plan: UNet) -> CompiledStep | None:
    return compile_step(_UNetModel(plan), Muon(), _squared_error)


def _squared_error(targets: Any, outputs: Any) -> Any:  # noqa: ANN401 # tensors of any backend
    known = ops.cast(ops.logical_not(ops.isnan(targets)), FLOATS)
    off = known * (outputs - ops.where(ops.isnan(targets), 0.0, targets))
    return ops.sum(ops.square(off)) / ops.maximum(ops.sum(known), 1)


class _UNetModel(keras.Model):  # type: ignore[misc] # Keras is untyped
    """Images plus what the plan computes of them."""

    def __init__(self, plan: UNet) -> None:
        super().__init__(name="unet", dtype=FLOATS)
        self.plan = plan
        self.weights_by_name = {
            name: self.add_weight(shape=shape, initializer="zeros", name=name, dtype=FLOATS)
            for name, shape in plan.weight_shapes().items()
        }
        self.built = True

    def call(self, images: Any) -> Any:  # noqa: ANN401 # a tensor of any backend
        weights = {name: weight.value for name, weight in self.weights_by_name.items()}
        return images + self.plan.compute(images, weights, Operations())


class Operations:
    """Keras's own; JAX's own convolution is fast at a stride of 1."""

    def convolve(self, images: Any, kernel: Any) -> Any:  # noqa: ANN401 # tensors of any backend
        """As `convae.architecture.unet.Operations` says, like all others."""
        return ops.conv(images, kernel, padding="same", data_format="channels_last")

    def mix(self, images: Any, matrix: Any) -> Any:  # noqa: ANN401
        """Planes times a matrix."""
        return ops.matmul(images, matrix)

    def rectify(self, images: Any) -> Any:  # noqa: ANN401
        """Nothing negative."""
        return ops.relu(images)

    def add(self, first: Any, second: Any) -> Any:  # noqa: ANN401
        """The sum."""
        return first + second

    def gather(self, images: Any) -> Any:  # noqa: ANN401
        """Half the sides."""
        height, width, planes = images.shape[1:]
        parts = ops.reshape(images, (-1, height // 2, 2, width // 2, 2, planes))
        parts = ops.transpose(parts, (0, 1, 3, 2, 4, 5))
        return ops.reshape(parts, (-1, height // 2, width // 2, 4 * planes))

    def scatter(self, images: Any) -> Any:  # noqa: ANN401
        """Twice the sides."""
        height, width, planes = images.shape[1:]
        parts = ops.reshape(images, (-1, height, width, 2, 2, planes // 4))
        parts = ops.transpose(parts, (0, 1, 3, 2, 4, 5))
        return ops.reshape(parts, (-1, 2 * height, 2 * width, planes // 4))
