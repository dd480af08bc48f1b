"""Train any Keras model in steps whose size is given for each; on JAX they are compiled once.

On JAX the batch of a step can be cut into parts, each of which a thread of its own differentiates:
XLA uses little more than one core for convolutions of few planes.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convae.nn.backend import keras

# Of targets and outputs, as Keras's own; and batches of inputs and targets.
Loss = Callable[[Any, Any], Any]
Batches = Iterable[tuple[Any, Any]]


class CompiledStep(NamedTuple):
    """A step on JAX, for all models of one shape.

    Args:
        run: Takes a state, the size of the step, inputs and targets; gives the next state.
        gradients: Takes weights, and inputs and targets of a part; gives what the loss asks for.
        apply: Takes a state, the size of the step, and the gradients of equal parts; gives the next
            state.
        first_moments: Makes what an optimizer remembers before the first step.
    """

    run: Callable[..., Any]
    gradients: Callable[..., Any]
    apply: Callable[..., Any]
    first_moments: Callable[[], list[Any]]


def compile_step(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, loss: Loss
) -> CompiledStep | None:
    """The step of a model and its optimizer; None on other backends than JAX.

    Args:
        model: Its weights are arguments of the step: nothing is ever learned by it.
        optimizer: Used by no other.
        loss: A mean.
    """
    if keras.backend.backend() != "jax":
        return None
    import jax

    optimizer.build(model.trainable_variables)
    (rate_place,) = (
        place
        for place, variable in enumerate(optimizer.variables)
        if variable.name == "learning_rate"
    )

    def gradients(trainable: Any, inputs: Any, targets: Any) -> Any:  # noqa: ANN401 # JAX's
        def of(trainable: Any) -> Any:  # noqa: ANN401
            return loss(targets, model.stateless_call(trainable, [], inputs)[0])

        return jax.grad(of)(trainable)

    def apply(state: Any, rate: Any, parts: Any) -> Any:  # noqa: ANN401
        trainable, moments = state
        moments = [*moments[:rate_place], rate, *moments[rate_place + 1 :]]
        found = jax.tree.map(lambda *each: sum(each) / len(each), *parts)
        return optimizer.stateless_apply(moments, found, trainable)

    def step(state: Any, rate: Any, inputs: Any, targets: Any) -> Any:  # noqa: ANN401
        return apply(state, rate, [gradients(state[0], inputs, targets)])

    def first_moments() -> list[Any]:
        return [keras.ops.copy(variable.value) for variable in optimizer.variables]

    return CompiledStep(
        jax.jit(step, donate_argnums=0),
        jax.jit(gradients),
        jax.jit(apply, donate_argnums=0),
        first_moments,
    )


def train_in_steps(
    model: keras.Model,
    make_optimizer: Callable[[], keras.optimizers.Optimizer],
    loss: Loss,
    batches: Batches,
    rates: NDArray[np.float32],
    compiled: CompiledStep | None,
    num_parts: int = 1,
) -> None:
    """Train a model in place.

    Args:
        model: Built; it has no weights but those that are trained.
        make_optimizer: Makes its optimizer, where no step is compiled.
        loss: Of targets and outputs.
        batches: One for each step.
        rates: The size of each step.
        compiled: What `compile_step` gave for a model of this shape.
        num_parts: Equal parts of a batch to differentiate at once, on JAX; then the loss is the
            mean over theirs. A batch that cannot be cut into so many stays whole.
    """
    if compiled is None:
        optimizer = make_optimizer()
        model.compile(optimizer=optimizer, loss=loss)
        for rate, (inputs, targets) in zip(rates, batches, strict=True):
            optimizer.learning_rate = rate
            model.train_on_batch(inputs, targets)
        return
    import jax

    state = [variable.value for variable in model.trainable_variables], compiled.first_moments()
    with ThreadPoolExecutor(num_parts) as pool:

        def part_gradients(part: Any) -> Any:  # noqa: ANN401 # arrays in any tree
            return jax.block_until_ready(compiled.gradients(state[0], *part))

        for rate, batch in zip(rates, batches, strict=True):
            parts = _parts(batch, num_parts)
            if len(parts) == 1:
                state = compiled.run(state, rate, *batch)
            else:
                state = compiled.apply(state, rate, list(pool.map(part_gradients, parts)))
    for variable, value in zip(model.trainable_variables, state[0], strict=True):
        variable.assign(value)


def _parts(batch: Any, num_parts: int) -> list[Any]:  # noqa: ANN401
    """A batch in equal parts, or whole."""
    import jax

    arrays, tree = jax.tree.flatten(batch)
    size = len(arrays[0])
    if size % num_parts:
        return [batch]
    cut = [np.split(array, num_parts) for array in arrays]
    return [jax.tree.unflatten(tree, part) for part in zip(*cut, strict=True)]


def falling_rates(num_steps: int, largest: float, warm_up: int) -> NDArray[np.float32]:
    """Sizes of steps: up in the first ones, flat to the half, then linearly down to nothing.

    Args:
        num_steps: How many.
        largest: The size in between.
        warm_up: How many go up, at most.
    """
    done = np.arange(1, num_steps + 1, dtype=np.float32)
    rise = np.minimum(1, done / np.float32(min(warm_up, num_steps)))
    fall = np.minimum(1, 2 * (1 - done / np.float32(num_steps + 1)))
    rates: NDArray[np.float32] = np.float32(largest) * rise * fall
    return rates
