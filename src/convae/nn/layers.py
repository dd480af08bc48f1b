"""Keras's two convolution layers, computed the way that is fastest where they run.

In every other respect they are Keras's own layers: same weights, same configuration, same results
to rounding, saved under Keras's own names. No other kind of layer lives here.

On JAX, on a CPU, they are the matrix products of `convae.nn.products`; every other device and
backend has a faster native convolution, and that is used.
"""

from convae.nn.backend import keras


def products_are_faster() -> bool:
    """Whether convolutions are computed as matrix products: on JAX, when it runs on a CPU."""
    if keras.backend.backend() != "jax":
        return False
    import jax

    return bool(jax.default_backend() == "cpu")


class Conv2D(keras.layers.Conv2D):  # type: ignore[misc] # Keras is untyped
    """`keras.layers.Conv2D`, 3x3, `same`, with a stride of 1 or 2."""

    def convolution_op(
        self, inputs: keras.KerasTensor, kernel: keras.KerasTensor
    ) -> keras.KerasTensor:
        """The convolution without bias and activation; Keras calls it."""
        if products_are_faster():
            from convae.nn.products import convolve

            return convolve(inputs, keras.ops.convert_to_tensor(kernel), self.strides[0])
        return super().convolution_op(inputs, kernel)


class Conv2DTranspose(keras.layers.Conv2DTranspose):  # type: ignore[misc] # Keras is untyped
    """`keras.layers.Conv2DTranspose`, 3x3, `same`, with a stride of 1 or 2."""

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """The layer's outputs; Keras calls it."""
        if not products_are_faster():
            return super().call(inputs)
        from convae.nn.products import convolve_transposed

        kernel = keras.ops.convert_to_tensor(self.kernel)
        outputs = convolve_transposed(inputs, kernel, self.strides[0])
        return self.activation(keras.ops.add(outputs, self.bias))


# Keras writes a layer's module and class into `.keras` files. These name the stock layers, which
# hold the same weights and compute the same function, so such a file loads where convae is absent.
Conv2D.__module__ = Conv2DTranspose.__module__ = "keras.layers"
