"""The optimizers and their step sizes; which one a training uses is in its options."""

import math
from typing import Any

from convae.architecture.recipe import TrainingOptions
from convae.nn.backend import keras

# Chosen on held-out images of MNIST's training split, as is all that is set here.
MOMENTUM = 0.9
VELOCITY_MEMORY = 0.99
EPSILON = 1e-7
# Of a matrix's step: as large as Adam's are by experience, so that one learning rate suits both
# (Liu et al., "Muon is scalable for LLM training", 2025, section 2.2).
STEP_RMS = 0.2
# The quintic of Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024.
QUINTIC = (3.4445, -4.7750, 2.0315)
QUINTIC_STEPS = 5
# With less, Adam does as well and costs less.
SMALLEST_RANK = 16


def make_optimizer(options: TrainingOptions, num_steps: int) -> keras.optimizers.Optimizer:
    """The optimizer of a recipe.

    Args:
        options: The recipe.
        num_steps: Steps per epoch.
    """
    rate: float | keras.optimizers.schedules.LearningRateSchedule = options.learning_rate
    schedules = keras.optimizers.schedules
    if options.learning_rate_schedule == "cosine":
        rate = schedules.CosineDecay(rate, options.epochs * num_steps)
    elif options.learning_rate_schedule == "linear":
        rate = schedules.PolynomialDecay(rate, options.epochs * num_steps, end_learning_rate=0)
    if options.optimizer == "muon":
        return Muon(rate, options.weight_decay)
    return keras.optimizers.Adam(rate, weight_decay=options.weight_decay or None)


def learning_rate_after(optimizer: keras.optimizers.Optimizer, num_steps: int) -> float:
    """The step size after so many steps.

    Args:
        optimizer: What `make_optimizer` gave.
        num_steps: Steps done, 0 or more.
    """
    rate = optimizer._learning_rate  # Keras gives the rate of the moment alone
    if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        rate = rate(num_steps)
    return float(keras.ops.convert_to_tensor(rate))


def set_decay_steps(optimizer: keras.optimizers.Optimizer, num_steps: Any) -> None:  # noqa: ANN401
    """Let a step size fall over so many steps, if it falls at all.

    Args:
        optimizer: What `make_optimizer` gave.
        num_steps: All steps of a training; a number that is traced, too.
    """
    schedule = optimizer._learning_rate  # Keras gives the rate of the moment alone
    if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        schedule.decay_steps = num_steps


class Muon(keras.optimizers.Optimizer):  # type: ignore[misc] # Keras is untyped
    """Orthogonalized momentum for kernels of rank 16 or more, Adam for the rest.

    The step of a kernel, seen as a matrix, is its momentum with all singular values made nearly
    equal (Jordan et al., 2024). Unlike `keras.optimizers.Muon` it takes the kernels of
    convolutions for matrices too. Such kernels alone decay.

    Args:
        learning_rate: Step size, a number or a schedule; a kernel's step has 0.2 of it as its root
            mean square.
        decay: Share of a kernel that a step of size 1 would take away beside its own step.
    """

    def __init__(
        self,
        learning_rate: "float | keras.optimizers.schedules.LearningRateSchedule" = 1e-3,
        decay: float = 0.0,
        name: str = "muon",
        **settings: Any,  # noqa: ANN401 # those of any Keras optimizer
    ) -> None:
        super().__init__(learning_rate=learning_rate, name=name, **settings)
        self.decay = decay

    def build(self, variables: list[keras.Variable]) -> None:
        """Make the moments of `variables`; Keras calls it."""
        if self.built:
            return
        super().build(variables)
        self._momenta = [
            self.add_variable_from_reference(variable, name="momentum") for variable in variables
        ]
        self._velocities = [
            None
            if _is_matrix(variable)
            else self.add_variable_from_reference(variable, name="velocity")
            for variable in variables
        ]

    def update_step(
        self,
        gradient: keras.KerasTensor,
        variable: keras.Variable,
        learning_rate: keras.KerasTensor,
    ) -> None:
        """Change one variable by its gradient; Keras calls it."""
        ops = keras.ops
        index = self._get_variable_index(variable)
        momentum, velocity = self._momenta[index], self._velocities[index]
        self.assign(momentum, MOMENTUM * momentum + (1 - MOMENTUM) * gradient)
        if velocity is None:
            # As Nesterov has it: where the momentum will be after another step like this one.
            ahead = MOMENTUM * momentum + (1 - MOMENTUM) * gradient
            matrix = ops.reshape(ahead, (-1, variable.shape[-1]))
            size = STEP_RMS * max(matrix.shape) ** 0.5
            step = ops.reshape(size * _orthogonalize(matrix), variable.shape)
            # Not Keras's own decay, which on PyTorch stops at a network without any such kernel.
            step = step + self.decay * variable
        else:
            self.assign(
                velocity,
                VELOCITY_MEMORY * velocity + (1 - VELOCITY_MEMORY) * ops.square(gradient),
            )
            number = ops.cast(self.iterations + 1, "float32")
            mean = momentum / (1 - ops.power(MOMENTUM, number))
            square = velocity / (1 - ops.power(VELOCITY_MEMORY, number))
            step = mean / (ops.sqrt(square) + EPSILON)
        self.assign_sub(variable, learning_rate * step)


def _is_matrix(variable: keras.Variable) -> bool:
    """Whether a variable is a kernel that is worth the products; those of single channels are not.

    A kernel of a convolution, also of a transposed one, is a matrix whose columns are the last
    axis.
    """
    *others, last = variable.shape
    return bool(min(math.prod(others), last) >= SMALLEST_RANK)


def _orthogonalize(matrix: keras.KerasTensor) -> keras.KerasTensor:
    """A matrix of the same singular vectors, whose singular values are nearly all 0.7 to 1.2.

    Each step multiplies the matrix by a polynomial of its Gram matrix, which is smaller: so only
    the products of these polynomials are computed, and applied at the end.
    """
    ops = keras.ops
    rows, columns = matrix.shape
    if rows > columns:
        return ops.transpose(_orthogonalize(ops.transpose(matrix)))
    matrix = matrix / (ops.sqrt(ops.sum(ops.square(matrix))) + EPSILON)
    gram = ops.matmul(matrix, ops.transpose(matrix))
    linear, cubic, quintic = QUINTIC
    product = identity = ops.eye(rows)
    for _ in range(QUINTIC_STEPS):
        polynomial = linear * identity + cubic * gram + quintic * ops.matmul(gram, gram)
        product = ops.matmul(polynomial, product)
        gram = ops.matmul(ops.matmul(polynomial, gram), polynomial)
    return ops.matmul(product, matrix)
