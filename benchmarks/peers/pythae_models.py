"""Train an autoencoder of Pythae for some seconds, and write new images of each of its samplers.

    python pythae_models.py MNIST.npz FOLDER --model vae --seconds 120 --count 10000 --seed 0

It imports nothing of convae; the environment of `make .venv-pythae/installed` has the library. The
networks are the library's own for MNIST, with 16 latents; its settings are kept, but for the batch
size of 100 that its examples take. It prints one line of JSON.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pythae.models import RAE_L2, VAE, RAE_L2_Config, VAEConfig
from pythae.models.nn.benchmarks.mnist import (
    Decoder_Conv_AE_MNIST,
    Encoder_Conv_AE_MNIST,
    Encoder_Conv_VAE_MNIST,
)
from pythae.samplers import (
    GaussianMixtureSampler,
    GaussianMixtureSamplerConfig,
    NormalSampler,
)

LATENT_DIM, BATCH_SIZE, LEARNING_RATE = 16, 100, 1e-3


def make(name: str) -> Any:  # noqa: ANN401 # the library is untyped
    """A model with the library's networks for MNIST."""
    shape = {"input_dim": (1, 28, 28), "latent_dim": LATENT_DIM}
    if name == "vae":
        config = VAEConfig(**shape, reconstruction_loss="mse")
        return VAE(config, Encoder_Conv_VAE_MNIST(config), Decoder_Conv_AE_MNIST(config))
    config = RAE_L2_Config(**shape)
    return RAE_L2(config, Encoder_Conv_AE_MNIST(config), Decoder_Conv_AE_MNIST(config))


def train(model: Any, images: torch.Tensor, seconds: float) -> float:  # noqa: ANN401
    """Train for so long, at a rate that falls to nothing; the seconds that it took."""
    decoder = list(model.decoder.parameters())
    ids = {id(parameter) for parameter in decoder}
    others = [parameter for parameter in model.parameters() if id(parameter) not in ids]
    decay = getattr(model.model_config, "reg_weight", 0.0)
    optimizer = torch.optim.Adam(
        [{"params": others}, {"params": decoder, "weight_decay": decay}], lr=LEARNING_RATE
    )
    started = time.perf_counter()
    model.train()
    while (elapsed_s := time.perf_counter() - started) < seconds:
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1 - elapsed_s / seconds)
        batch = images[torch.randint(len(images), (BATCH_SIZE,))]
        optimizer.zero_grad()
        model({"data": batch}).loss.backward()
        optimizer.step()
    model.eval()
    return time.perf_counter() - started


def main() -> None:
    """Train, sample, write, answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mnist", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", choices=("vae", "rae_l2"), required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    given = parser.parse_args()
    torch.manual_seed(given.seed)
    with np.load(given.mnist) as arrays:
        pixels = arrays["x_train"].reshape(-1, 1, 28, 28)
    images = torch.from_numpy(pixels.astype(np.float32) / 255)
    model = make(given.model)
    fit_s = train(model, images, given.seconds)
    mixture = GaussianMixtureSamplerConfig(n_components=10)
    samplers = {"10 Gaussians": GaussianMixtureSampler(model, mixture)}
    if given.model == "vae":
        samplers["standard normal"] = NormalSampler(model)
    sample_s = {}
    for name, sampler in samplers.items():
        if hasattr(sampler, "fit"):
            sampler.fit(images)
        started = time.perf_counter()
        found = sampler.sample(num_samples=given.count).reshape(-1, 28, 28, 1)
        sample_s[name] = time.perf_counter() - started
        np.save(given.folder / f"{name}.npy", np.rint(255 * found.clamp(0, 1).numpy()).astype("u1"))
    print(json.dumps({"fit_s": fit_s, "sample_s": sample_s}), flush=True)


if __name__ == "__main__":
    main()
