"""A good plain PyTorch loop for the reference network, on the CPU.

    python torch_loop.py --images mnist.npz                       # float32, channels last
    python torch_loop.py --images mnist.npz --layout contiguous
    python torch_loop.py --images mnist.npz --precision bfloat16  # autocast

The images lie in memory as one uint8 tensor, batches are drawn from a random permutation, no step
waits for its loss, and Adam is the fused one. It is not compiled: that is not plain. PyTorch pads a
stride of 2 at the other edge than Keras does, which costs the same. It prints a line of JSON for
each measurement. It imports nothing of convae.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

LATENT_DIM = 16
BATCH_SIZE = 32
LEARNING_RATE = 1e-3
LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def build() -> nn.Module:
    """The reference network: 178,769 parameters, running means and variances among them."""

    def normalization(width: int) -> nn.Module:
        return nn.BatchNorm2d(width, eps=1e-3, momentum=0.01)  # as Keras has them

    def doubling(before: int, after: int) -> nn.Module:
        return nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=1)

    return nn.Sequential(
        nn.Conv2d(1, 32, 3, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        normalization(32),
        nn.Conv2d(32, 64, 3, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        normalization(64),
        nn.Flatten(),
        nn.Linear(64 * 7 * 7, LATENT_DIM),
        nn.Linear(LATENT_DIM, 64 * 7 * 7),
        nn.Unflatten(1, (64, 7, 7)),
        doubling(64, 64),
        nn.LeakyReLU(0.2),
        normalization(64),
        doubling(64, 32),
        nn.LeakyReLU(0.2),
        normalization(32),
        nn.ConvTranspose2d(32, 1, 3, padding=1),
        nn.Sigmoid(),
    )


def train_epoch(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: torch.Tensor,
    layout: torch.memory_format,
    precision: torch.dtype,
) -> torch.Tensor:
    """One pass over the images, uint8 `(num_images, 1, 28, 28)`; the mean loss."""
    total = torch.zeros(())
    for chosen in torch.randperm(len(images)).split(BATCH_SIZE):
        batch = images[chosen].to(torch.float32, memory_format=layout).div_(255)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            loss = nn.functional.mse_loss(network(batch), batch)
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(chosen)
    return total / len(images)


def main() -> None:
    """Train and print, as the options say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True, help="an .npz of x_train")
    parser.add_argument("--count", type=int, help="train on the first so many images")
    parser.add_argument("--epochs", type=int, default=1, help="of a measurement")
    parser.add_argument("--repeat", type=int, default=3, help="measurements")
    parser.add_argument("--on-request", action="store_true", help="measure at each line of stdin")
    parser.add_argument("--layout", choices=LAYOUTS, default="channels_last")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    torch.manual_seed(arguments.seed)
    layout, precision = LAYOUTS[arguments.layout], PRECISIONS[arguments.precision]
    pixels = np.load(arguments.images)["x_train"].reshape(-1, 1, 28, 28)
    images = torch.from_numpy(pixels[: arguments.count])
    network = build().to(memory_format=layout)
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE, fused=True)

    def fit(epochs: int) -> float:
        for _ in range(epochs):
            loss = train_epoch(network, optimizer, images, layout, precision)
        return float(loss)

    fit(1)
    say(library=f"torch {torch.__version__}")
    for _ in range(arguments.repeat):
        if arguments.on_request and not sys.stdin.readline():
            break
        started = time.perf_counter()
        loss = fit(arguments.epochs)
        elapsed_s = time.perf_counter() - started
        say(images=len(images) * arguments.epochs, elapsed_s=elapsed_s, loss=loss)


def say(**answer: object) -> None:
    """Print one line of JSON, at once."""
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
