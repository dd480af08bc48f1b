"""What the model file keeps of a codec: two models, each under a name of its own."""

from convae.architecture.plan import Architecture
from convae.coding.contextmodel import ContextModel
from convae.coding.latents import LatentModel
from convae.errors import ParameterError
from convae.storage.modelfile import FittedJob, reading_job

CONTEXTS, LATENTS = "contexts", "latents"


def to_job(contexts: ContextModel, latents: LatentModel) -> FittedJob:
    """The models of a codec as JSON values and arrays."""
    parts = {CONTEXTS: contexts.to_job(), LATENTS: latents.to_job()}
    tables = {
        f"{part}/{name}": table for part, job in parts.items() for name, table in job.tables.items()
    }
    return FittedJob({part: job.settings for part, job in parts.items()}, tables)


def from_job(
    job: FittedJob, architecture: Architecture, origin: str
) -> tuple[ContextModel, LatentModel]:
    """The inverse of `to_job`, for an untrusted file.

    Args:
        job: What `convae.storage.modelfile.read_model` returned; every number is finite.
        architecture: Of the network of the same file.
        origin: What the message calls the file.

    Raises:
        ModelFileError: Something is missing, unknown or of the wrong kind.
    """
    with reading_job(origin):
        known = isinstance(job.settings, dict) and set(job.settings) == {CONTEXTS, LATENTS}
        if not known or not all(isinstance(part, dict) for part in job.settings.values()):
            raise ParameterError(
                f"A codec must have {CONTEXTS} and {LATENTS}; received {job.settings!r:.80}."
            )
        parts = {part: FittedJob(settings, {}) for part, settings in job.settings.items()}
        for path, table in job.tables.items():
            part, _, name = path.partition("/")
            if part not in parts:
                raise ParameterError(f"A codec has no table {path!r:.80}.")
            parts[part].tables[name] = table
    contexts = ContextModel.from_job(parts[CONTEXTS], origin)
    latents = LatentModel.from_job(parts[LATENTS], origin)
    with reading_job(origin):
        decoder = latents.decoder
        passes = architecture.encoder_passes  # no matter of the decoder
        found = Architecture(*decoder.shape, decoder.filters, len(latents.mean), passes)
        if found != architecture:
            raise ParameterError(
                f"The codes of latents must be those of the network, {architecture}; received "
                f"those of {found}."
            )
    return contexts, latents
