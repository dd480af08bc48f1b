"""What the model file keeps of a denoiser: its network, and what it was trained for."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convae.architecture.unet import UNet
from convae.checks import share
from convae.errors import ParameterError
from convae.jobs.denoise.noise import NOISES
from convae.storage.modelfile import FittedJob, reading_job
from convae.storage.tables import Table, check_tables

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False, slots=True)
class TrainedUNet:
    """A network that takes noise away, and what it was trained for.

    Args:
        plan: Its shape; it takes 1, 3 or 4 planes, and gives as many.
        weights: float32, as `plan.weight_shapes()` says.
        noise: The kind of noise.
        strength: The strongest that it was trained with, or that of the noisy images it was.
        errors: Mean squared error on held-out images, or what is expected, by strength: pairs,
            strengths going up.
    """

    plan: UNet
    weights: Mapping[str, Floats]
    noise: str
    strength: float
    errors: tuple[tuple[float, float], ...]

    def to_job(self) -> FittedJob:
        """What the model file keeps."""
        settings = {
            "network": self.plan.to_json(),
            "noise": self.noise,
            "strength": self.strength,
            "errors": [list(pair) for pair in self.errors],
        }
        return FittedJob(settings, dict(self.weights))

    @classmethod
    def from_job(cls, job: FittedJob, channels: int, origin: str) -> "TrainedUNet":
        """The inverse of `to_job`, for an untrusted file.

        Args:
            job: What `convae.storage.modelfile.read_model` returned; every number is finite.
            channels: Of the images of the same file.
            origin: What the message calls the file.

        Raises:
            ModelFileError: Something is missing, unknown or of the wrong kind.
        """
        with reading_job(origin):
            settings = job.settings
            if set(settings) != {"network", "noise", "strength", "errors"}:
                raise ParameterError(
                    f"A denoiser must have errors, network, noise and strength; received "
                    f"{settings!r:.80}."
                )
            plan = UNet.from_json(settings["network"])
            if plan.inputs != channels or plan.outputs != channels:
                raise ParameterError(
                    f"A denoiser must take and give the {channels} channels of the images; "
                    f"received {plan.inputs} and {plan.outputs}."
                )
            noise = settings["noise"]
            if not isinstance(noise, str) or noise not in NOISES:
                raise ParameterError(
                    f"noise must be one of {', '.join(NOISES)}; received {noise!r:.40}."
                )
            strength = share(settings["strength"], "strength")
            declared = {
                name: Table(np.float32, shape) for name, shape in plan.weight_shapes().items()
            }
            check_tables(job.tables, declared, "A denoiser")
            return cls(plan, job.tables, noise, strength, _errors(settings["errors"]))


def _errors(document: Any) -> tuple[tuple[float, float], ...]:  # noqa: ANN401 # JSON
    pairs: list[Any] = document if isinstance(document, list) else [None]
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs) or len(pairs) > 100:
        raise ParameterError(
            f"errors must be at most 100 pairs of numbers; received {document!r:.80}."
        )
    found = tuple(
        (share(strength, "each strength"), share(mse, "each error")) for strength, mse in pairs
    )
    if any(later[0] <= before[0] for before, later in pairwise(found)):
        raise ParameterError(f"The strengths of errors must go up; received {document!r:.80}.")
    return found
