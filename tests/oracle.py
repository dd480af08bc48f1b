"""The network in NumPy alone, written from the definitions: float64, and no backend's."""

import numpy as np

from convae.architecture.plan import EPSILON, NEGATIVE_SLOPE


def convolve(images, kernel, stride):
    """Cross-correlation with TensorFlow's `same` padding."""
    count, height, width, channels = images.shape
    rows, columns = -(-height // stride), -(-width // stride)
    above = max((rows - 1) * stride + 3 - height, 0) // 2
    left = max((columns - 1) * stride + 3 - width, 0) // 2
    padded = np.zeros((count, rows * stride + 3, columns * stride + 3, channels))
    padded[:, above : above + height, left : left + width] = images
    outputs = np.zeros((count, rows, columns, kernel.shape[3]))
    for i in range(3):
        for j in range(3):
            seen = padded[:, i:, j:][:, : rows * stride : stride, : columns * stride : stride]
            outputs += seen @ kernel[i, j]
    return outputs


def convolve_transposed(images, kernel, stride):
    """The transpose of `convolve` of an image `stride` times as large."""
    count, rows, columns, _ = images.shape
    height, width = rows * stride, columns * stride
    before = (3 - stride) // 2
    outputs = np.zeros((count, height + 3, width + 3, kernel.shape[2]))
    for i in range(3):
        for j in range(3):
            outputs[:, i:, j:][:, :height:stride, :width:stride] += images @ kernel[i, j].T
    return outputs[:, before : before + height, before : before + width]


def _finish_stage(volume, weights, layer):
    volume = np.where(volume > 0, volume, NEGATIVE_SLOPE * volume)
    mean, variance = weights[f"{layer}/moving_mean"], weights[f"{layer}/moving_variance"]
    scaled = (volume - mean) / np.sqrt(variance + EPSILON)
    return scaled * weights[f"{layer}/gamma"] + weights[f"{layer}/beta"]


def encode(architecture, weights, images):
    """float64 latents of float images."""
    volume = np.asarray(images, np.float64)
    for stage in range(1, len(architecture.filters) + 1):
        layer = f"encoder/conv2d_{stage}"
        volume = convolve(volume, weights[f"{layer}/kernel"], 2) + weights[f"{layer}/bias"]
        volume = _finish_stage(volume, weights, f"encoder/batch_normalization_{stage}")
    flat = volume.reshape(len(volume), -1)
    return flat @ weights["encoder/latents/kernel"] + weights["encoder/latents/bias"]


def decode(architecture, weights, latents):
    """float64 images of latents."""
    volume = latents @ weights["decoder/volume/kernel"] + weights["decoder/volume/bias"]
    volume = volume.reshape(-1, *architecture.volume)
    for stage in range(len(architecture.filters) + 1, 2 * len(architecture.filters) + 1):
        layer = f"decoder/conv2d_transpose_{stage}"
        volume = convolve_transposed(volume, weights[f"{layer}/kernel"], 2)
        volume = volume + weights[f"{layer}/bias"]
        volume = _finish_stage(volume, weights, f"decoder/batch_normalization_{stage}")
    layer = "decoder/reconstruction"
    volume = convolve_transposed(volume, weights[f"{layer}/kernel"], 1) + weights[f"{layer}/bias"]
    top = (volume.shape[1] - architecture.height) // 2
    left = (volume.shape[2] - architecture.width) // 2
    volume = volume[:, top : top + architecture.height, left : left + architecture.width]
    return 1 / (1 + np.exp(-volume))


def random_weights(architecture, seed):
    """Float32 weights of a sensible size for every layer, statistics included."""
    random = np.random.default_rng(seed)
    weights = {}
    for name, shape in architecture.weight_shapes().items():
        values = random.normal(size=shape)
        if name.endswith("/kernel"):
            values /= np.sqrt(np.prod(shape) / shape[-1])
        elif name.endswith(("gamma", "moving_variance")):
            values = 0.5 + np.abs(values)
        else:
            values *= 0.3
        weights[name] = values.astype(np.float32)
    return weights
