"""Run the steps of a training: many to a compiled call on JAX, one by one on the other backends.

It neither chooses the images of a step nor keeps a history; `convae.nn.train` does.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from convae.architecture.plan import Architecture
from convae.architecture.recipe import TrainingOptions
from convae.images import to_float
from convae.images.distortion import Distortion, Moves, distortion_of
from convae.images.memory import release
from convae.nn.backend import keras
from convae.nn.build import shared, shared_size, template
from convae.nn.distort import distort
from convae.nn.losses import LOSSES
from convae.nn.optimizers import make_optimizer, set_decay_steps

# Images in memory up to here lie on the device whole; of more, or of those in a file, each call
# takes along what its steps need.
MOST_RESIDENT_BYTES = 2**30
MOST_BLOCK_BYTES = 2**25
# Copies of images, filled up to a number that many trainings share, take at most this.
MOST_FILLED_BYTES = 2**24
MOST_STEPS = 1024

LARGEST_BYTE = np.float32(255)

Tree: TypeAlias = Any  # arrays of JAX in tuples and lists, traced ones among them


@dataclass(frozen=True, eq=False)
class Batches:
    """The images of some steps.

    Args:
        indices: Positions among all images, int64 `(num_steps, batch_size)`.
        moves: How each image is distorted, arrays of `(num_steps, batch_size, ...)`; None leaves
            them as they are.
    """

    indices: NDArray[np.int64]
    moves: Moves | None

    def __len__(self) -> int:
        """Number of steps."""
        return len(self.indices)


@dataclass(frozen=True)
class StepPlan:
    """What a step computes, whatever the weights and the images.

    Args:
        architecture: That of the model.
        options: The recipe.
        num_steps: Steps of an epoch.
    """

    architecture: Architecture
    options: TrainingOptions
    num_steps: int

    def without_what_no_step_needs(self) -> "StepPlan":
        """Plans of equal steps made equal, so that trainings share what was compiled."""
        # How images are distorted is an argument of a step; that they are is not.
        distorted = Distortion(translation=int(bool(distortion_of(self.options))))
        options = replace(
            self.options, epochs=1, seed=0, validation_split=0.0, patience=None,
            **asdict(distorted),
        )  # fmt: skip
        architecture = replace(self.architecture, encoder_passes=1)
        return replace(self, architecture=architecture, options=options, num_steps=1)

    @property
    def decay_steps(self) -> int:
        """Steps over which a step size falls that falls at all."""
        return self.options.epochs * self.num_steps

    def make_optimizer(self) -> keras.optimizers.Optimizer:
        """The optimizer of the recipe."""
        return make_optimizer(self.options, self.num_steps)

    def fields(self) -> NDArray[np.float32] | None:
        """What `Batches.moves` are multiplied by, if images are distorted."""
        height, width, _ = self.architecture.image_shape
        distortion = distortion_of(self.options)
        return distortion.fields(height, width) if distortion else None


class Steps(Protocol):
    """Trains a model, which holds the state until `run` takes it, and after `store`."""

    most_steps: int
    """Steps that one call of `run` can take."""

    def run(self, batches: Batches) -> NDArray[np.float32]:
        """Train on batches of one size, at most `most_steps`; the loss of each step."""

    def store(self) -> None:
        """Give the state back to the model and its optimizer."""


def make_steps(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    plan: StepPlan,
    images: NDArray[Any],
) -> Steps:
    """The way to train that is fastest on this backend.

    Args:
        model: The result of `convae.nn.build.build_model`.
        optimizer: That of the plan, built for the trainable variables of `model`.
        plan: What a step computes.
        images: All images, uint8 or float32 in [0, 1], `(num_images, height, width, channels)`; in
            memory or mapped from a file.
    """
    kind = _CompiledSteps if keras.backend.backend() == "jax" else _SingleSteps
    return kind(model, optimizer, plan, images)


class _SingleSteps:
    """Keras's own training step."""

    most_steps = 1

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        plan: StepPlan,
        images: NDArray[Any],
    ) -> None:
        model.compile(optimizer=optimizer, loss=LOSSES[plan.options.loss])
        self._model, self._images, self._fields = model, images, plan.fields()

    def run(self, batches: Batches) -> NDArray[np.float32]:
        losses = np.empty(len(batches), np.float32)
        to_tensor = keras.ops.convert_to_tensor
        for step, indices in enumerate(batches.indices):
            batch = to_float(self._images[indices])
            if batches.moves is not None:
                moves = Moves(*(to_tensor(part[step]) for part in batches.moves))
                distorted = distort(to_tensor(batch), moves, to_tensor(self._fields))
                batch = keras.ops.convert_to_numpy(distorted)
            # Keras averages the loss over the calls since a reset.
            self._model.reset_metrics()
            losses[step] = float(self._model.train_on_batch(batch, batch))
        release(self._images)
        return losses

    def store(self) -> None:
        pass


class _CompiledSteps:
    """A loop over steps that XLA compiles as one; gathering the images is part of it."""

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        plan: StepPlan,
        images: NDArray[Any],
    ) -> None:
        import jax

        self._model, self._optimizer, self._images = model, optimizer, images
        self._batch_size = batch_size = plan.options.batch_size
        self._decay_steps, self._fields = np.int32(plan.decay_steps), plan.fields()
        in_memory = not isinstance(images, np.memmap) and images.nbytes <= MOST_RESIDENT_BYTES
        self._resident = jax.device_put(_filled_up(images)) if in_memory else None
        bytes_a_step = batch_size * math.prod(images.shape[1:]) * images.itemsize
        self.most_steps = MOST_STEPS
        if not in_memory:
            self.most_steps = max(1, min(MOST_STEPS, MOST_BLOCK_BYTES // bytes_a_step))
        # None while the model and the optimizer hold it.
        self._state: Tree = None
        make = shared(_compiled, plan.architecture)
        self._run = make(plan.without_what_no_step_needs(), self.most_steps)

    def _variables(self) -> tuple[list[keras.Variable], ...]:
        model = self._model
        return (
            model.trainable_variables,
            model.non_trainable_variables,
            self._optimizer.variables,
        )

    def _taken(self) -> Tree:
        # Copies, since a call of the compiled loop gives up the memory of the state it is given.
        return tuple(
            [keras.ops.copy(variable.value) for variable in variables]
            for variables in self._variables()
        )

    def store(self) -> None:
        if self._state is None:
            return
        for variables, values in zip(self._variables(), self._state, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        self._state = None

    def run(self, batches: Batches) -> NDArray[np.float32]:
        num_steps = len(batches)
        block, positions = self._resident, batches.indices
        if block is None:
            flat = batches.indices.reshape(-1)
            block = np.zeros(
                (self.most_steps * self._batch_size, *self._images.shape[1:]), self._images.dtype
            )
            block[: len(flat)] = self._images[flat]
            release(self._images)
            positions = np.arange(len(flat)).reshape(batches.indices.shape)
        self._state, losses = self._run(
            self._taken() if self._state is None else self._state,
            np.int32(num_steps),
            block,
            self._filled(positions.astype(np.int32)),
            None if batches.moves is None else Moves(*map(self._filled, batches.moves)),
            self._fields,
            LARGEST_BYTE,
            self._decay_steps,
        )
        return np.asarray(losses)[:num_steps]

    def _filled(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values of one shape for any number of steps, so that the loop is compiled once."""
        filled = np.zeros((self.most_steps, *values.shape[1:]), values.dtype)
        filled[: len(values)] = values
        return filled


def _filled_up(images: NDArray[Any]) -> NDArray[Any]:
    """Few images filled up, so that trainings on any number of them share a program."""
    filled = shared_size(len(images))
    if filled * images[0].nbytes > MOST_FILLED_BYTES:
        return images
    return np.pad(images, [(0, filled - len(images)), (0, 0), (0, 0), (0, 0)])


@lru_cache(maxsize=8)
def _compiled(plan: StepPlan, most_steps: int) -> Callable[..., Tree]:
    """The loop over at most so many steps; weights and images are arguments."""
    import jax
    import jax.numpy as jnp

    model, optimizer = template(plan.architecture), plan.make_optimizer()
    loss = LOSSES[plan.options.loss]
    optimizer.build(model.trainable_variables)

    def run(
        state: Tree,
        num_steps: Tree,
        block: Tree,
        positions: Tree,
        moves: Tree,
        fields: Tree,
        largest_byte: Tree,
        decay_steps: Tree,
    ) -> Tree:
        set_decay_steps(optimizer, decay_steps)

        def compute_loss(trainable: Tree, other: Tree, batch: Tree) -> Tree:
            outputs, other = model.stateless_call(trainable, other, batch, training=True)
            return loss(batch, outputs), other

        def step(index: Tree, carried: Tree) -> Tree:
            (trainable, other, moments), losses = carried
            batch = block[positions[index]]
            if batch.dtype == jnp.uint8:
                # By a number that XLA does not know: it would multiply by a rounded 1/255.
                batch = batch.astype(jnp.float32) / largest_byte
            if moves is not None:
                batch = distort(batch, Moves(*(part[index] for part in moves)), fields)
            differentiate = jax.value_and_grad(compute_loss, has_aux=True)
            (value, other), gradients = differentiate(trainable, other, batch)
            trainable, moments = optimizer.stateless_apply(moments, gradients, trainable)
            return (trainable, other, moments), losses.at[index].set(value)

        losses = jnp.zeros(most_steps, jnp.float32)
        found = jax.lax.fori_loop(0, num_steps, step, (state, losses))
        set_decay_steps(optimizer, 1)  # what was traced must not outlive the trace
        return found

    compiled: Callable[..., Tree] = jax.jit(run, donate_argnums=0)
    return compiled
