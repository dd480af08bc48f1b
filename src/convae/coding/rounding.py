"""A network's decoder, and a basis for its latents, in the integers of `convae.coding.decoder`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convae.coding.decoder import (
    EXACT,
    LARGEST_ACTIVATION,
    LARGEST_CODE,
    LOGIT_BITS,
    NUM_LOGITS,
    OFFSET_BITS,
    SLOPE,
    Space,
    by_tap,
    image_by_image,
    products,
)

Floats = NDArray[np.float32]
Weights = Mapping[str, NDArray[np.float32]]

EPSILON = 1e-3  # Keras's default for batch normalization
_MOST_SHIFT = 30
_LARGEST_WEIGHT = np.iinfo(np.int16).max


def round_decoder(
    weights: Weights,
    first_volume: tuple[int, int, int],
    basis: Floats,
    mean: Floats,
    codes: NDArray[np.int64],
) -> dict[str, NDArray[Any]]:
    """Tables for `IntegerDecoder`.

    Args:
        weights: Those of an autoencoder, by the names of `Architecture.weight_shapes`.
        first_volume: Rows, columns and channels of what the dense layer gives.
        basis: float32 `(num_codes, latent_dim)`: what one of each code adds to the latents.
        mean: float32 `(latent_dim,)`: the latents of a code of zeros.
        codes: int64 `(num_images, num_codes)`: codes of images, to see how large activations are.
    """
    tables: dict[str, NDArray[Any]] = {}
    shifts = []
    kernel = basis @ weights["decoder/volume/kernel"]
    bias = mean @ weights["decoder/volume/kernel"] + weights["decoder/volume/bias"]
    volume = codes.astype(np.float32) @ kernel + bias
    unit = _unit(volume)
    shift, tables["volume/weights"], tables["volume/bias"] = _scaled(
        kernel / unit, bias / unit, LARGEST_CODE
    )
    shifts.append(shift)
    volume = volume.reshape(-1, *first_volume)
    names = sorted(
        (name.split("/")[1] for name in weights if name.startswith("decoder/conv2d_transpose_")
         and name.endswith("/kernel")),
        key=lambda name: int(name.rpartition("_")[2]),
    )  # fmt: skip
    signs = np.ones(first_volume[2], np.float32)
    for stage, name in enumerate(names):
        kernel = weights[f"decoder/{name}/kernel"].transpose(0, 1, 3, 2)
        bias = weights[f"decoder/{name}/bias"]
        number = name.rpartition("_")[2]
        gamma, beta, average, variance = (
            weights[f"decoder/batch_normalization_{number}/{kind}"]
            for kind in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        gain = gamma / np.sqrt(variance + EPSILON)
        offset = beta - gain * average
        sums = _doubled(volume, kernel) + bias
        volume = gain * np.maximum(sums, SLOPE * sums) + offset
        before, unit = unit, _unit(volume)
        scale = np.abs(gain) / unit
        shift, tables[f"{stage}/weights"], tables[f"{stage}/bias"] = _scaled(
            kernel * (signs * before)[:, np.newaxis] * scale, bias * scale, LARGEST_ACTIVATION
        )
        shifts.append(shift)
        # An activation whose gain is below 0 is kept with the other sign, and so are its weights.
        signs = np.where(gain < 0, -1, 1).astype(np.float32)
        offsets = np.rint((signs * offset / unit + 0.5) * (1 << OFFSET_BITS))
        tables[f"{stage}/offsets"] = np.clip(offsets, 1 - EXACT, EXACT - 1).astype(np.int32)
    kernel = weights["decoder/reconstruction/kernel"].transpose(0, 1, 3, 2)
    bias = weights["decoder/reconstruction/bias"]
    scale = 1 << LOGIT_BITS
    shift, tables["pixels/weights"], tables["pixels/bias"] = _scaled(
        kernel * (signs * unit * scale)[:, np.newaxis], bias * scale + 0.5, LARGEST_ACTIVATION
    )
    shifts.append(shift)
    logits = (np.arange(NUM_LOGITS) - NUM_LOGITS // 2) / scale
    tables["logits"] = np.rint(255 / (1 + np.exp(-logits))).astype(np.uint8)
    tables["shifts"] = np.array(shifts, np.uint8)
    return tables


def _doubled(volume: Floats, kernel: Floats) -> Floats:
    """The transposed convolution of stride 2 of `(num_images, rows, columns, channels)`."""
    by_channel = np.ascontiguousarray(volume.transpose(3, 1, 2, 0))
    return image_by_image(products(by_channel, by_tap(kernel), Space()))


def _unit(volume: Floats) -> float:
    """What an activation of 1 stands for."""
    return float(np.abs(volume).max() / LARGEST_ACTIVATION) or 1.0


def _scaled(
    kernel: Floats, bias: Floats, largest_input: int
) -> tuple[int, NDArray[np.int16], NDArray[np.int32]]:
    """The largest power of two by which sums stay exact, and kernel and bias times it."""
    for shift in range(_MOST_SHIFT, -1, -1):
        weights = np.rint(kernel * 2.0**shift)
        biases = np.rint(bias * 2.0**shift)
        sums = largest_input * np.abs(weights).sum(axis=tuple(range(kernel.ndim - 1)))
        if np.abs(weights).max() <= _LARGEST_WEIGHT and (sums + np.abs(biases)).max() < EXACT:
            break
    return shift, weights.astype(np.int16), biases.astype(np.int32)
