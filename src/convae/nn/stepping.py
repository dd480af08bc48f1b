"""Train any Keras model in steps whose size is given for each; on JAX they are compiled once."""

from collections.abc import Callable, Iterable
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
        first_moments: Makes what an optimizer remembers before the first step.
    """

    run: Callable[..., Any]
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

    def step(state: Any, rate: Any, inputs: Any, targets: Any) -> Any:  # noqa: ANN401 # JAX's
        trainable, moments = state

        def of(trainable: Any) -> Any:  # noqa: ANN401
            return loss(targets, model.stateless_call(trainable, [], inputs)[0])

        moments = [*moments[:rate_place], rate, *moments[rate_place + 1 :]]
        return optimizer.stateless_apply(moments, jax.grad(of)(trainable), trainable)

    def first_moments() -> list[Any]:
        return [keras.ops.copy(variable.value) for variable in optimizer.variables]

    return CompiledStep(jax.jit(step, donate_argnums=0), first_moments)


def train_in_steps(
    model: keras.Model,
    make_optimizer: Callable[[], keras.optimizers.Optimizer],
    loss: Loss,
    batches: Batches,
    rates: NDArray[np.float32],
    compiled: CompiledStep | None,
) -> None:
    """Train a model in place.

    Args:
        model: Built; it has no weights but those that are trained.
        make_optimizer: Makes its optimizer, where no step is compiled.
        loss: Of targets and outputs.
        batches: One for each step.
        rates: The size of each step.
        compiled: What `compile_step` gave for a model of this shape.
    """
    if compiled is None:
        optimizer = make_optimizer()
        model.compile(optimizer=optimizer, loss=loss)
        for rate, (inputs, targets) in zip(rates, batches, strict=True):
            optimizer.learning_rate = rate
            model.train_on_batch(inputs, targets)
        return
    state = [variable.value for variable in model.trainable_variables], compiled.first_moments()
    for rate, batch in zip(rates, batches, strict=True):
        state = compiled.run(state, rate, *batch)
    for variable, value in zip(model.trainable_variables, state[0], strict=True):
        variable.assign(value)


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
