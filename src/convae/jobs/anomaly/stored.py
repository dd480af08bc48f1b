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
from convae.storage.tables import Table, check_tables

# Far beyond what fitting gives, and far below where a product of a few overflows.
LARGEST = 1e9
LARGEST_UNIT = 10.0
LARGEST_LATENT = 1e18
LARGEST_PRECISION = 1e30
LEAST_SCALE = 1e-30
# What should be at most 1 is rounded.
ONE = 1 + 1e-6
LONGEST_TEXT, MOST_NAMES = 1_000, 32

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
        _numbers(heat_units, "heat_units", 0, LARGEST_PRECISION)
        scores = _scores(job.tables, network, spaces)
        return scores, choice, Calibration(job.tables["calibration_scores"]), heat_units, settings


def _declared(spaces: tuple[str, ...], image_shape: tuple[int, int, int]) -> dict[str, Table]:
    """What each table must be; features have at most unit length, and components have it."""
    latents = (-LARGEST_LATENT, LARGEST_LATENT)
    declared = {
        "reference_latents": Table(np.float32, ("references", "latents"), *latents),
        "latent_mean": Table(np.float64, ("latents",), *latents),
        "latent_precision": Table(
            np.float64, ("latents", "latents"), -LARGEST_PRECISION, LARGEST_PRECISION
        ),
        "calibration_scores": Table(np.float64, ("calibration images",)),
    }
    for space in spaces:
        features, components = SPACES[space].num_features(image_shape), f"components of {space}"
        unit = (-LARGEST_UNIT, LARGEST_UNIT)
        declared[f"{space}_mean"] = Table(np.float32, (features,), *unit)
        declared[f"{space}_components"] = Table(np.float32, (components, features), *unit)
        declared[f"reference_{space}"] = Table(np.float32, ("references", components), *unit)
    return declared


def _scores(
    tables: dict[str, NDArray[Any]], network: Network, spaces: tuple[str, ...]
) -> AnomalyScores:
    architecture = network.architecture
    check_tables(
        tables,
        _declared(spaces, architecture.image_shape),
        "The tables of a detector",
        {"latents": architecture.latent_dim},
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
    reason = choice["reason"]
    if not isinstance(reason, str) or len(reason) > LONGEST_TEXT:
        raise ParameterError(
            f"A reason must be text of at most {LONGEST_TEXT:,} characters; received "
            f"{reason!r:.80}."
        )
    _numbers({"correlation": choice["correlation"]}, "A detector's choice", -ONE, ONE)
    for name in ("aurocs", "cheap_aurocs"):
        _numbers(choice[name], name, 0, ONE)
        if len(choice[name]) > MOST_NAMES or any(len(key) > LONGEST_TEXT for key in choice[name]):
            raise ParameterError(f"{name} must have at most {MOST_NAMES} short names.")
    if choice["cheap_aurocs"] and score not in choice["aurocs"]:
        raise ParameterError(f"aurocs must have the score {score!r}, beside cheap_aurocs.")
    parts = set(SCORES[score])
    _numbers(_exactly(choice["centers"], parts, "centers"), "centers", -LARGEST, LARGEST)
    _numbers(_exactly(choice["scales"], parts, "scales"), "scales", LEAST_SCALE, LARGEST)
    return Choice(**choice)


def _exactly(document: object, names: set[str], what: str) -> dict[str, Any]:
    if not isinstance(document, dict) or set(document) != names:
        received = sorted(document) if isinstance(document, dict) else document
        raise ParameterError(
            f"{what} must have the keys {sorted(names)}; received {received!r:.200}."
        )
    return document


def _numbers(document: object, what: str, low: float, high: float) -> None:
    if not isinstance(document, dict) or not all(
        type(value) in (int, float) and low <= value <= high for value in document.values()
    ):
        raise ParameterError(
            f"{what} must be numbers from {low:g} to {high:g} by name; received {document!r:.200}."
        )
