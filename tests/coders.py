"""Coding models that nobody trained, and images: quick to make, the same on every machine."""

import numpy as np

from convae.coding.contextmodel import ContextModel
from convae.coding.contexts import exponentials, table_shapes
from convae.coding.lossless import PlaneCoding, _walk
from convae.coding.rans import TOTAL
from convae.coding.waves import Canvas, waves

# What keeps the sums exact, and the distributions far from even.
LIMITS = {"window": 300, "high_bias": 2000, "low_bias": 2000, "low_hidden_bias": 3000}


def random_tables(plane, num_planes, hidden=8, seed=0):
    """Tables of one plane's network."""
    random = np.random.default_rng([seed, plane, num_planes, hidden])
    return {
        name: random.integers(
            -LIMITS.get(name, 60), LIMITS.get(name, 60), shape, endpoint=True
        ).astype(kind)
        for name, (kind, shape) in table_shapes(plane, num_planes, hidden).items()
    }


def random_model(num_planes=1, bits=8, hidden=8, seed=0, by_distance=()):
    """A model of random tables."""
    tables = [random_tables(plane, num_planes, hidden, seed) for plane in range(num_planes)]
    return ContextModel.of(tables, exponentials(), bits, by_distance)


def likely_images(model, count, height, width, seed=0):
    """Images drawn from what a model expects: no other way codes them as well."""
    random = np.random.default_rng(seed)
    canvas = Canvas(count, height, width, len(model.networks))

    def draw(bounds):
        slots = random.integers(0, TOTAL, bounds.shape[1])
        return (bounds[1:-1] <= slots).sum(axis=0)

    coding = PlaneCoding(model.networks, model.bits // 8)
    for wave in waves(height, width):
        _walk(canvas, wave, (height, width), coding, lambda *_: (draw, draw), map)
    values = canvas.planes()
    dtype = np.dtype(np.uint16 if model.bits == 16 else np.uint8)
    return values.view(dtype.newbyteorder(">")).astype(dtype)


def learn_in_steps(monkeypatch, num_steps):
    """Let every network of pixels learn in so many steps."""
    for name in ("FEWEST_STEPS", "MOST_STEPS"):
        monkeypatch.setattr(f"convae.jobs.codec.pixels.{name}", num_steps)


def smooth_images(count, height, width, channels, dtype=np.uint8, seed=0):
    """Images whose bytes change little from one pixel to the next, with black and white in them."""
    random = np.random.default_rng(seed)
    steps = random.integers(-3, 4, (count, height, width, channels * np.dtype(dtype).itemsize))
    steps[:, 0] *= 20
    values = np.clip(120 + steps.cumsum(axis=2), 0, 255).astype(np.uint8)
    return values.view(np.dtype(dtype).newbyteorder(">")).astype(dtype)
