import numpy as np
import pytest

from convae.architecture.recipe import TrainingOptions
from convae.nn.backend import keras
from convae.nn.optimizers import Muon, make_optimizer


def normal(*shape):
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


def after_a_step(value, gradient):
    variable = keras.Variable(value)
    optimizer = Muon(learning_rate=0.5)
    optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    return keras.ops.convert_to_numpy(variable.value)


@pytest.mark.parametrize("shape", [(40, 16), (16, 40), (3, 3, 5, 17), (3, 3, 16, 16)])
def test_a_kernel_steps_along_its_gradient_with_equal_singular_values(shape):
    value, gradient = normal(*shape), normal(*shape)
    step = (value - after_a_step(value, gradient)).reshape(-1, shape[-1])
    left, _, right = np.linalg.svd(gradient.reshape(step.shape), full_matrices=False)
    # In the gradient's own singular vectors the step is diagonal, and nearly a multiple of 1.
    seen = left.T @ step @ right.T / (0.5 * 0.2 * max(step.shape) ** 0.5)
    np.testing.assert_allclose(seen, np.diag(seen.diagonal()), atol=1e-3)
    assert 0.65 < seen.diagonal().min() <= seen.diagonal().max() < 1.25
    np.testing.assert_allclose(left @ (left.T @ step), step, atol=1e-4)


@pytest.mark.parametrize("shape", [(9,), (3, 3, 1, 40), (3, 3, 40, 1), (15, 40)])
def test_biases_and_kernels_of_low_rank_step_as_adam_does(shape):
    value, gradient = normal(*shape), normal(*shape)
    np.testing.assert_allclose(
        value - after_a_step(value, gradient), 0.5 * np.sign(gradient), rtol=1e-4
    )


def test_a_gradient_of_zero_leaves_everything_where_it_is():
    for shape in ((7,), (16, 17)):
        value = normal(*shape)
        np.testing.assert_array_equal(after_a_step(value, np.zeros_like(value)), value)


@pytest.mark.parametrize(
    ("schedule", "halfway"), [("constant", 0.4), ("cosine", 0.2), ("linear", 0.2)]
)
@pytest.mark.parametrize("name", ["adam", "muon"])
def test_the_learning_rate_falls_as_its_schedule_says(name, schedule, halfway):
    options = TrainingOptions(
        optimizer=name, learning_rate=0.4, learning_rate_schedule=schedule, epochs=2
    )
    optimizer = make_optimizer(options, num_steps=10)
    variable = keras.Variable(normal(4))
    for _ in range(10):
        optimizer.apply([keras.ops.zeros(4)], [variable])
    rate = keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(optimizer.learning_rate))
    assert float(rate) == pytest.approx(halfway, rel=1e-5)


@pytest.mark.parametrize(("shape", "decays"), [((3, 3, 16, 16), True), ((16,), False)])
def test_kernels_decay_and_the_rest_does_not(shape, decays):
    variable = keras.Variable(np.ones(shape, np.float32))
    options = TrainingOptions(
        epochs=1, learning_rate=0.5, learning_rate_schedule="constant", weight_decay=0.1
    )
    make_optimizer(options, num_steps=10).apply([keras.ops.zeros(shape)], [variable])
    expected = 0.95 if decays else 1.0
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable.value), expected, rtol=1e-6)
