"""Learn latents by flow matching for some seconds, and draw new ones.

    python flow_matching.py LATENTS.npy OUT.npy --seconds 120 --count 10000 --seed 0

It imports nothing of convae; the environment of `make .venv-pythae/installed` has PyTorch. A
network learns the straight way from normal noise to whitened latents (Lipman et al., "Flow matching
for generative modeling", 2023), and new latents follow it in 50 steps of Heun's method. It prints
one line of JSON.
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch

WIDTH, DEPTH, BATCH_SIZE, LEARNING_RATE, STEPS = 256, 3, 512, 2e-3, 50
# Of the sines and cosines that tell the time.
FREQUENCIES = (0.5, 1.0, 2.0, 4.0)


class Velocity(torch.nn.Module):  # type: ignore[misc] # torch is untyped here
    """Where a point moves at a time."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.first = torch.nn.Linear(size + 2 * len(FREQUENCIES), WIDTH)
        self.inner = torch.nn.ModuleList(torch.nn.Linear(WIDTH, WIDTH) for _ in range(DEPTH))
        self.last = torch.nn.Linear(WIDTH, size)

    def forward(self, points: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """Points `(count, size)`, times from 0 to 1 `(count, 1)`."""
        angles = 2 * math.pi * times * torch.tensor(FREQUENCIES)
        told = torch.cat([points, torch.sin(angles), torch.cos(angles)], 1)
        volume = torch.nn.functional.silu(self.first(told))
        for layer in self.inner:
            volume = volume + torch.nn.functional.silu(layer(volume))
        found: torch.Tensor = self.last(volume)
        return found


def train(points: torch.Tensor, seconds: float) -> tuple[Velocity, float]:
    """Train for so long, at a rate that falls to nothing; the seconds that it took."""
    model = Velocity(points.shape[1])
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    started = time.perf_counter()
    while (elapsed_s := time.perf_counter() - started) < seconds:
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1 - elapsed_s / seconds)
        ends = points[torch.randint(len(points), (BATCH_SIZE,))]
        starts, times = torch.randn_like(ends), torch.rand(BATCH_SIZE, 1)
        found = model((1 - times) * starts + times * ends, times)
        optimizer.zero_grad()
        (found - (ends - starts)).square().mean().backward()
        optimizer.step()
    return model, time.perf_counter() - started


def draw(model: Velocity, count: int, size: int) -> torch.Tensor:
    """New points."""
    points = torch.randn(count, size)
    for step in range(STEPS):
        now, then = (torch.full((count, 1), (step + ahead) / STEPS) for ahead in (0, 1))
        first = model(points, now)
        second = model(points + first / STEPS, then)
        points = points + (first + second) / (2 * STEPS)
    return points


def main() -> None:
    """Train, draw, write, answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("latents", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    given = parser.parse_args()
    torch.manual_seed(given.seed)
    latents = np.load(given.latents).astype(np.float64)
    mean = latents.mean(axis=0)
    scales, axes = np.linalg.eigh(np.cov(latents.T))
    spread = np.sqrt(scales)
    white = (latents - mean) @ axes / spread
    model, fit_s = train(torch.from_numpy(white.astype(np.float32)), given.seconds)
    started = time.perf_counter()
    with torch.no_grad():
        points = draw(model, given.count, len(mean)).numpy().astype(np.float64)
    sample_s = time.perf_counter() - started
    np.save(given.out, (mean + points * spread @ axes.T).astype(np.float32))
    print(json.dumps({"fit_s": fit_s, "sample_s": sample_s}), flush=True)


if __name__ == "__main__":
    main()
