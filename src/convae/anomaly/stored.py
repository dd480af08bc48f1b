"""What the model file keeps of an anomaly detector; a file from a stranger is checked here."""

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convae.anomaly.calibration import Calibration, check_most_anomalies, check_rate
from convae.anomaly.choice import Choice
from convae.anomaly.edges import num_edge_features
from convae.anomaly.neighbours import Neighbours
from convae.anomaly.scores import SCORES, AnomalyScores
from convae.errors import ModelFileError, ParameterError
from convae.estimator import ConvAutoencoder
from convae.modelfile import FittedJob
from convae.nn.config import fraction, whole_number

JOB = "anomalies"


def to_job(
    scores: AnomalyScores,
    choice: Choice,
    calibrations: tuple[Calibration, Calibration],
    settings: dict[str, Any],
) -> FittedJob:
    """The detector as JSON values and arrays.

    Args:
        scores: What was learned of normal images.
        choice: The score that was chosen.
        calibrations: The scores of normal images, and minus the most heat in each.
        settings: The detector's parameters but the autoencoder.
    """
    return FittedJob(
        {"settings": settings, "choice": asdict(choice)},
        {
            "edge_mean": scores.neighbours.mean,
            "edge_components": scores.neighbours.components,
            "reference_edges": scores.neighbours.references,
            "reference_latents": scores.reference_latents,
            "latent_mean": scores.latent_mean,
            "latent_precision": scores.latent_precision,
            "calibration_scores": calibrations[0].scores,
            "calibration_heats": calibrations[1].scores,
        },
    )


def from_job(
    job: FittedJob, autoencoder: ConvAutoencoder, origin: str
) -> tuple[AnomalyScores, Choice, tuple[Calibration, Calibration], dict[str, Any]]:
    """The inverse of `to_job`, for a file that nobody vouches for.

    Args:
        job: What `convae.modelfile.read_model` returned; every number is finite.
        autoencoder: The fitted estimator of the same file.
        origin: What the message calls the file.

    Raises:
        ModelFileError: Something is missing, unknown or of the wrong kind.
    """
    try:
        scores = _scores(job.tables, autoencoder)
        calibrations = (
            Calibration(job.tables["calibration_scores"]),
            Calibration(job.tables["calibration_heats"]),
        )
        sections = _exactly(job.settings, {"settings", "choice"}, "A detector")
        return scores, _choice(sections["choice"]), calibrations, _settings(sections["settings"])
    except ParameterError as error:
        raise ModelFileError(
            f"{origin} cannot be used: {error} Get the file again from whoever made it."
        ) from error


def _scores(tables: dict[str, NDArray[Any]], autoencoder: ConvAutoencoder) -> AnomalyScores:
    height, width, _ = autoencoder.architecture_.image_shape
    latent_dim = autoencoder.architecture_.latent_dim
    num_features = num_edge_features(height, width)
    _exactly(
        tables,
        {
            "edge_mean", "edge_components", "reference_edges", "reference_latents",
            "latent_mean", "latent_precision", "calibration_scores", "calibration_heats",
        },
        "A detector's tables",
    )  # fmt: skip
    components, references = tables["edge_components"], tables["reference_edges"]
    num_components, count = len(components[..., :0]), len(references[..., :0])
    shapes: dict[str, tuple[tuple[int, ...], type]] = {
        "edge_mean": ((num_features,), np.float32),
        "edge_components": ((num_components, num_features), np.float32),
        "reference_edges": ((count, num_components), np.float32),
        "reference_latents": ((count, latent_dim), np.float32),
        "latent_mean": ((latent_dim,), np.float64),
        "latent_precision": ((latent_dim, latent_dim), np.float64),
    }
    for name, (shape, dtype) in shapes.items():
        table = tables[name]
        if table.shape != shape or table.dtype != dtype or 0 in shape:
            raise ParameterError(
                f"{name} must be {dtype.__name__} of shape {shape}, without a 0; received "
                f"{table.dtype} of shape {table.shape}."
            )
    neighbours = Neighbours(tables["edge_mean"], components, references)
    return AnomalyScores(
        autoencoder,
        neighbours,
        tables["reference_latents"],
        tables["latent_mean"],
        tables["latent_precision"],
    )


def _settings(document: object) -> dict[str, Any]:
    names = {"false_alarm_rate", "calibration_fraction", "most_anomalies", "seed"}
    settings = _exactly(document, names, "A detector's settings")
    check_rate(settings["false_alarm_rate"])
    fraction(settings["calibration_fraction"], "calibration_fraction", 0, 1, open_low=True)
    check_most_anomalies(settings["most_anomalies"])
    whole_number(settings["seed"], "seed", 0, 2**63 - 1)
    return settings


def _choice(document: object) -> Choice:
    names = set(Choice.__dataclass_fields__)
    choice = _exactly(document, names, "A detector's choice")
    score = choice["score"]
    if not isinstance(score, str) or score not in SCORES:
        raise ParameterError(f"A score must be one of {', '.join(SCORES)}; received {score!r:.80}.")
    if not isinstance(choice["reason"], str):
        raise ParameterError(f"A reason must be text; received {choice['reason']!r:.80}.")
    _numbers({"correlation": choice["correlation"]}, "A detector's choice")
    for name in ("aurocs", "cheap_aurocs"):
        _numbers(choice[name], name)
    for name in ("centres", "scales"):
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
