"""A network's decoder, and a basis for its latents, in the integers of `convae.coding.decoder`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convae.architecture.plan import Architecture, Layer
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

_MOST_SHIFT = 30
_LARGEST_WEIGHT = np.iinfo(np.int16).max


def round_decoder(
    architecture: Architecture,
    weights: Weights,
    basis: Floats,
    mean: Floats,
    codes: NDArray[np.int64],
) -> dict[str, NDArray[Any]]:
    """Tables for `IntegerDecoder`.

    Args:
        architecture: That of an autoencoder.
        weights: Its weights, by the names of `Architecture.weight_shapes`.
        basis: float32 `(num_codes, latent_dim)`: what one of each code adds to the latents.
        mean: float32 `(latent_dim,)`: the latents of a code of zeros.
        codes: int64 `(num_images, num_codes)`: codes of images, to see how large activations are.
    """
    tables: dict[str, NDArray[Any]] = {}
    shifts = []
    dense, convolutions, normalizations = _decoder_layers(architecture)
    kernel = basis @ weights[f"{dense.path}/kernel"]
    bias = mean @ weights[f"{dense.path}/kernel"] + weights[f"{dense.path}/bias"]
    volume = codes.astype(np.float32) @ kernel + bias
    unit = _unit(volume)
    shift, tables["volume/weights"], tables["volume/bias"] = _scaled(
        kernel / unit, bias / unit, LARGEST_CODE
    )
    shifts.append(shift)
    volume = volume.reshape(-1, *architecture.volume)
    signs = np.ones(architecture.volume[2], np.float32)
    *doubling, last = convolutions
    for stage, (layer, normalization) in enumerate(zip(doubling, normalizations, strict=True)):
        kernel = weights[f"{layer.path}/kernel"].transpose(0, 1, 3, 2)
        bias = weights[f"{layer.path}/bias"]
        gamma, beta, average, variance = (
            weights[f"{normalization.path}/{kind}"] for kind in normalization.weights
        )
        gain = gamma / np.sqrt(variance + normalization.settings["epsilon"])
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
    kernel = weights[f"{last.path}/kernel"].transpose(0, 1, 3, 2)
    bias = weights[f"{last.path}/bias"]
    scale = 1 << LOGIT_BITS
    shift, tables["pixels/weights"], tables["pixels/bias"] = _scaled(
        kernel * (signs * unit * scale)[:, np.newaxis], bias * scale + 0.5, LARGEST_ACTIVATION
    )
    shifts.append(shift)
    logits = (np.arange(NUM_LOGITS) - NUM_LOGITS // 2) / scale
    tables["logits"] = np.rint(255 / (1 + np.exp(-logits))).astype(np.uint8)
    tables["shifts"] = np.array(shifts, np.uint8)
    return tables


def _decoder_layers(architecture: Architecture) -> tuple[Layer, list[Layer], list[Layer]]:
    """The dense layer, the transposed convolutions, and what normalizes all but their last."""
    layers = [layer for layer in architecture.layers() if layer.model == "decoder"]
    by_kind = {layer.kind: [one for one in layers if one.kind == layer.kind] for layer in layers}
    return by_kind["Dense"][0], by_kind["Conv2DTranspose"], by_kind["BatchNormalization"]


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
