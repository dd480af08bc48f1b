"""The losses that training minimises, on any backend; finished models are judged by `metrics`."""

from collections.abc import Callable

from convae.metrics import SSIM_C1, SSIM_C2, SSIM_WINDOW
from convae.nn.backend import keras

SMALLEST_CHANCE = 1e-7

Loss = Callable[[keras.KerasTensor, keras.KerasTensor], keras.KerasTensor]


def _mean_squared_error(
    targets: keras.KerasTensor, reconstructions: keras.KerasTensor
) -> keras.KerasTensor:
    return keras.ops.mean(keras.ops.square(targets - reconstructions))


def _mean_absolute_error(
    targets: keras.KerasTensor, reconstructions: keras.KerasTensor
) -> keras.KerasTensor:
    return keras.ops.mean(keras.ops.absolute(targets - reconstructions))


def _binary_crossentropy(
    targets: keras.KerasTensor, reconstructions: keras.KerasTensor
) -> keras.KerasTensor:
    # By hand: PyTorch's own stops the program when a diverging network yields NaN.
    likely = keras.ops.clip(reconstructions, SMALLEST_CHANCE, 1 - SMALLEST_CHANCE)
    return -keras.ops.mean(
        targets * keras.ops.log(likely) + (1 - targets) * keras.ops.log(1 - likely)
    )


def _structural_dissimilarity(
    targets: keras.KerasTensor, reconstructions: keras.KerasTensor
) -> keras.KerasTensor:
    """1 - SSIM, as `convae.metrics.ssim` defines SSIM, averaged over the batch."""

    def window_mean(planes: keras.KerasTensor) -> keras.KerasTensor:
        return keras.ops.average_pool(planes, SSIM_WINDOW, strides=1, padding="valid")

    mean_a, mean_b = window_mean(targets), window_mean(reconstructions)
    unbias = SSIM_WINDOW**2 / (SSIM_WINDOW**2 - 1)
    variance_a = unbias * (window_mean(targets * targets) - mean_a * mean_a)
    variance_b = unbias * (window_mean(reconstructions * reconstructions) - mean_b * mean_b)
    covariance = unbias * (window_mean(targets * reconstructions) - mean_a * mean_b)
    similarity = ((2 * mean_a * mean_b + SSIM_C1) * (2 * covariance + SSIM_C2)) / (
        (mean_a * mean_a + mean_b * mean_b + SSIM_C1) * (variance_a + variance_b + SSIM_C2)
    )
    return 1 - keras.ops.mean(similarity)


LOSSES: dict[str, Loss] = {
    "mse": _mean_squared_error,
    "mae": _mean_absolute_error,
    "bce": _binary_crossentropy,
    "ssim": _structural_dissimilarity,
}
