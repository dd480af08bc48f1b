"""What the model file keeps of an anomaly detector; a file from a stranger is checked here."""

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convae.architecture.network import Network
from convae.checks import fraction, whole_number
from convae.errors import ParameterError
from convae.jobs.anomaly.calibration import Calibration, check_most_anomalies, check_rate
from convae.jobs.anomaly.choice import Choice
from convae.jobs.anomaly.neighbors import Neighbors
from convae.jobs.anomaly.scores import SCORES, AnomalyScores, scores_for, spaces_of
from convae.jobs.anomaly.spaces import SPACES
from convae.storage.modelfile import FittedJob, reading_job

SETTINGS = ("false_alarm_rate", "calibration_fraction", "most_anomalies", "seed")


def to_job(
    scores: AnomalyScores,
    choice: Choice,
    calibration: Calibration,
    heat_units: dict[str, float],
    settings: dict[str, Any],
) -> FittedJob:
    """The detector as JSON values and arrays.

    Args:
        scores: What was learned of normal images.
        choice: The score that was chosen.
        calibration: The scores of normal images.
        heat_units: By space, the heat that half of them reach somewhere.
        settings: The detector's parameters but the autoencoder.
    """
    tables: dict[str, NDArray[Any]] = {
        "reference_latents": scores.reference_latents,
        "latent_mean": scores.latent_mean,
        "latent_precision": scores.latent_precision,
        "calibration_scores": calibration.scores,
    }
    for space, neighbors in scores.neighbors.items():
        tables[f"{space}_mean"] = neighbors.mean
        tables[f"{space}_components"] = neighbors.components
        tables[f"reference_{space}"] = neighbors.references
    sections = {"settings": settings, "choice": asdict(choice), "heat_units": heat_units}
    return FittedJob(sections, tables)


def from_job(
    job: FittedJob, network: Network, origin: str
) -> tuple[AnomalyScores, Choice, Calibration, dict[str, float], dict[str, Any]]:
    """The inverse of `to_job`, for an untrusted file.

    Args:
        job: What `convae.storage.modelfile.read_model` returned; every number is finite.
        network: The network of the same file.
        origin: What the message calls the file.

    Raises:
        ModelFileError: Something is missing, unknown or of the wrong kind.
    """
    with reading_job(origin):
        names = {"settings", "choice", "heat_units"}
        sections = _exactly(job.settings, names, "A detector")
        settings = _settings(sections["settings"])
        choice = _choice(sections["choice"], network)
        spaces = spaces_of(choice.score)
        heat_units = _exactly(sections["heat_units"], set(spaces), "heat_units")
        _numbers(heat_units, "heat_units")
        scores = _scores(job.tables, network, spaces)
        return scores, choice, Calibration(job.tables["calibration_scores"]), heat_units, settings


def _scores(
    tables: dict[str, NDArray[Any]], network: Network, spaces: tuple[str, ...]
) -> AnomalyScores:
    latent_dim = network.architecture.latent_dim
    found = {"reference_latents", "latent_mean", "latent_precision", "calibration_scores"}
    for space in spaces:
        found |= {f"{space}_mean", f"{space}_components", f"reference_{space}"}
    _exactly(tables, found, "A detector's tables")
    count = len(tables["reference_latents"][..., :0])
    shapes: dict[str, tuple[tuple[int, ...], type]] = {
        "reference_latents": ((count, latent_dim), np.float32),
        "latent_mean": ((latent_dim,), np.float64),
        "latent_precision": ((latent_dim, latent_dim), np.float64),
    }
    for space in spaces:
        num_features = SPACES[space].num_features(network.architecture.image_shape)
        num_components = len(tables[f"{space}_components"][..., :0])
        shapes[f"{space}_mean"] = ((num_features,), np.float32)
        shapes[f"{space}_components"] = ((num_components, num_features), np.float32)
        shapes[f"reference_{space}"] = ((count, num_components), np.float32)
    for name, (shape, dtype) in shapes.items():
        table = tables[name]
        if table.shape != shape or table.dtype != dtype or 0 in shape:
            raise ParameterError(
                f"{name} must be {dtype.__name__} of shape {shape}, without a 0; received "
                f"{table.dtype} of shape {table.shape}."
            )
    neighbors = {
        space: Neighbors(
            tables[f"{space}_mean"], tables[f"{space}_components"], tables[f"reference_{space}"]
        )
        for space in spaces
    }
    return AnomalyScores(
        network,
        neighbors,
        tables["reference_latents"],
        tables["latent_mean"],
        tables["latent_precision"],
    )


def _settings(document: object) -> dict[str, Any]:
    settings = _exactly(document, set(SETTINGS), "A detector's settings")
    check_rate(settings["false_alarm_rate"])
    fraction(settings["calibration_fraction"], "calibration_fraction", 0, 1, open_low=True)
    check_most_anomalies(settings["most_anomalies"])
    whole_number(settings["seed"], "seed", 0, 2**63 - 1)
    return settings


def _choice(document: object, network: Network) -> Choice:
    names = set(Choice.__dataclass_fields__)
    choice = _exactly(document, names, "A detector's choice")
    score = choice["score"]
    possible = scores_for(network.architecture.image_shape[2])
    if not isinstance(score, str) or score not in possible:
        raise ParameterError(
            f"A score must be one of {', '.join(possible)}; received {score!r:.80}."
        )
    if not isinstance(choice["reason"], str):
        raise ParameterError(f"A reason must be text; received {choice['reason']!r:.80}.")
    _numbers({"correlation": choice["correlation"]}, "A detector's choice")
    for name in ("aurocs", "cheap_aurocs"):
        _numbers(choice[name], name)
    for name in ("centers", "scales"):
        _numbers(_exactly(choice[name], set(SCORES[score]), name), name)
    if min(choice["scales"].values()) <= 0:
        raise ParameterError(f"scales must be above 0; received {choice['scales']}.")
    return Choice(**choice)


def _exactly(document: object, names: set[str], what: str) -> dict[str, Any]:
    if not isinstance(document, dict) or set(document) != names:
        received = sorted(document) if isinstance(document, dict) else document
        raise ParameterError(
            f"{what} must have the keys {sorted(names)}; received {received!r:.200}."
        )
    return document


def _numbers(document: object, what: str) -> None:
    if not isinstance(document, dict) or not all(
        type(value) in (int, float) for value in document.values()
    ):
        raise ParameterError(f"{what} must be numbers by name; received {document!r:.200}.")
