"""Keras's two convolution layers, computed the way that is fastest where they run.

In every other respect they are Keras's own layers: same weights, same configuration, same results
to rounding, saved under Keras's own names. No other kind of layer lives here.

XLA's CPU back end is slow at strided and at transposed convolutions. Written as one matrix product
with shifted copies before it or shifted sums after it, the same arithmetic trains many times as
fast there (`benchmarks/convolution.py`). Every other device and backend has a faster native
convolution, and that is used.
"""

from convae.nn.backend import keras

KERNEL_SIDE = 3


def products_are_faster() -> bool:
    """Whether convolutions shall be written as matrix products: on JAX, when it runs on a CPU."""
    if keras.backend.backend() != "jax":
        return False
    import jax

    return bool(jax.default_backend() == "cpu")


def convolve_by_product(
    images: keras.KerasTensor, kernel: keras.KerasTensor, stride: int
) -> keras.KerasTensor:
    """A 3x3 convolution with `same` padding: nine shifted copies, then one matrix product.

    Args:
        images: float32 `(batch, height, width, channels)`.
        kernel: float32 `(3, 3, channels, filters)`.
        stride: 1 or 2, for both axes.

    Returns:
        float32 `(batch, ceil(height / stride), ceil(width / stride), filters)`.
    """
    _, height, width, channels = images.shape
    rows, columns = -(-height // stride), -(-width // stride)
    # TensorFlow's `same`: the odd pixel of padding goes to the end.
    pad_rows = max((rows - 1) * stride + KERNEL_SIDE - height, 0)
    pad_columns = max((columns - 1) * stride + KERNEL_SIDE - width, 0)
    padded = keras.ops.pad(
        images,
        (
            (0, 0),
            (pad_rows // 2, pad_rows - pad_rows // 2),
            (pad_columns // 2, pad_columns - pad_columns // 2),
            (0, 0),
        ),
    )
    row_span, column_span = (rows - 1) * stride + 1, (columns - 1) * stride + 1
    patches = keras.ops.concatenate(
        [
            padded[:, row : row + row_span : stride, column : column + column_span : stride]
            for row in range(KERNEL_SIDE)
            for column in range(KERNEL_SIDE)
        ],
        axis=-1,
    )
    return keras.ops.matmul(patches, keras.ops.reshape(kernel, (KERNEL_SIDE**2 * channels, -1)))


def convolve_transposed_by_product(
    images: keras.KerasTensor, kernel: keras.KerasTensor, stride: int
) -> keras.KerasTensor:
    """A transposed 3x3 convolution with `same` padding: one matrix product, then shifted sums.

    Args:
        images: float32 `(batch, height, width, channels)`.
        kernel: float32 `(3, 3, filters, channels)`.
        stride: 1 or 2, for both axes.

    Returns:
        float32 `(batch, height * stride, width * stride, filters)`.
    """
    _, height, width, channels = images.shape
    filters = kernel.shape[2]
    matrix = keras.ops.reshape(keras.ops.transpose(kernel, (3, 0, 1, 2)), (channels, -1))
    products = keras.ops.reshape(
        # Flat, since XLA turns only a plain matrix product into its fast one.
        keras.ops.matmul(keras.ops.reshape(images, (-1, channels)), matrix),
        (-1, height, width, KERNEL_SIDE, KERNEL_SIDE, filters),
    )
    if stride == 1:
        padded = keras.ops.pad(products, ((0, 0), (1, 1), (1, 1), (0, 0), (0, 0), (0, 0)))
        return sum(
            padded[:, 2 - row : 2 - row + height, 2 - column : 2 - column + width, row, column]
            for row in range(KERNEL_SIDE)
            for column in range(KERNEL_SIDE)
        )
    # Of the output rows 2m and 2m + 1, the even one gets tap 0 of input row m and tap 2 of input
    # row m - 1; the odd one gets tap 1 of input row m. Columns alike.
    above = keras.ops.pad(products[:, :-1, :, 2], ((0, 0), (1, 0), (0, 0), (0, 0), (0, 0)))
    both_rows = keras.ops.stack([products[:, :, :, 0] + above, products[:, :, :, 1]], axis=2)
    both_rows = keras.ops.reshape(both_rows, (-1, 2 * height, width, KERNEL_SIDE, filters))
    left = keras.ops.pad(both_rows[:, :, :-1, 2], ((0, 0), (0, 0), (1, 0), (0, 0)))
    both = keras.ops.stack([both_rows[:, :, :, 0] + left, both_rows[:, :, :, 1]], axis=3)
    return keras.ops.reshape(both, (-1, 2 * height, 2 * width, filters))


class Conv2D(keras.layers.Conv2D):  # type: ignore[misc] # Keras is untyped
    """`keras.layers.Conv2D`, 3x3, `same`, with a stride of 1 or 2."""

    def convolution_op(
        self, inputs: keras.KerasTensor, kernel: keras.KerasTensor
    ) -> keras.KerasTensor:
        """The convolution without bias and activation; Keras calls it."""
        if products_are_faster():
            return convolve_by_product(inputs, kernel, self.strides[0])
        return super().convolution_op(inputs, kernel)


class Conv2DTranspose(keras.layers.Conv2DTranspose):  # type: ignore[misc] # Keras is untyped
    """`keras.layers.Conv2DTranspose`, 3x3, `same`, with a stride of 1 or 2."""

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """The layer's outputs; Keras calls it."""
        if not products_are_faster():
            return super().call(inputs)
        outputs = convolve_transposed_by_product(inputs, self.kernel, self.strides[0])
        return self.activation(keras.ops.add(outputs, self.bias))


# Keras writes a layer's module and class into `.keras` files. These name the stock layers, which
# hold the same weights and compute the same function, so such a file loads where convae is absent.
Conv2D.__module__ = Conv2DTranspose.__module__ = "keras.layers"
