"""The losses that training minimizes, on any backend; finished models are judged by `metrics`."""

from collections.abc import Callable

from convae.images.metrics import SSIM_WINDOW, similarity_map
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
    """1 - SSIM, as `convae.images.metrics.ssim` defines SSIM, averaged over the batch."""

    def window_mean(planes: keras.KerasTensor) -> keras.KerasTensor:
        return keras.ops.average_pool(
            planes, SSIM_WINDOW, strides=1, padding="valid", data_format="channels_last"
        )

    return 1 - keras.ops.mean(similarity_map(targets, reconstructions, window_mean))


LOSSES: dict[str, Loss] = {
    "mse": _mean_squared_error,
    "mae": _mean_absolute_error,
    "bce": _binary_crossentropy,
    "ssim": _structural_dissimilarity,
}
