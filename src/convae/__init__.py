"""One small convolutional autoencoder, trained from a plain set of images, kept in one safe file.

Importing this package loads no deep-learning backend: each public name is resolved when first used.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convae.architecture.plan import Architecture
    from convae.architecture.recipe import (
        FLIPS,
        LOSS_NAMES,
        OPTIMIZER_NAMES,
        PRESETS,
        SCHEDULE_NAMES,
    )
    from convae.architecture.run import RunOptions
    from convae.autoencoder.estimator import ConvAutoencoder
    from convae.autoencoder.tensorboard import TensorBoardLog
    from convae.baselines.formats import FormatSizes, newer_formats
    from convae.coding.archive import ImageArchive
    from convae.datasets import Dataset, exact_batches, fitted_batches, load_dataset
    from convae.datasets.layout import check_training_folder
    from convae.datasets.load import check_dataset
    from convae.errors import ConvaeError
    from convae.images import PICTURE_EXTENSIONS, read_images
    from convae.jobs.anomaly.detections import check_detections, write_detections
    from convae.jobs.anomaly.detector import AnomalyDetector
    from convae.jobs.codec.codec import ImageCodec
    from convae.jobs.codec.comparison import compare_formats
    from convae.jobs.codec.extraction import write_array, write_pictures
    from convae.jobs.denoise.denoiser import Denoiser
    from convae.jobs.denoise.noise import add_noise
    from convae.jobs.denoise.pictures import check_denoised, write_denoised
    from convae.jobs.kind import job_kinds
    from convae.jobs.latentdim import LatentDimCurve, latent_dim_curve
    from convae.jobs.model import TrainedModel, load_model
    from convae.jobs.run import judge_training, write_training
    from convae.jobs.sample.pictures import check_samples_path, write_samples
    from convae.jobs.sample.sampler import LatentSampler
    from convae.jobs.training import add_jobs, left_by, train_model
    from convae.report.result import Result
    from convae.report.runs import (
        CHECKPOINT,
        OUTPUT_IMAGE,
        check_folder,
        check_latents_path,
        check_reconstructions,
        prepare_folder,
        write_latents,
        write_reconstructions,
    )
    from convae.storage.files import check_output
    from convae.storage.modelfile import model_identity

__version__ = "0.1.0"
__all__ = [
    "CHECKPOINT",
    "FLIPS",
    "LOSS_NAMES",
    "OPTIMIZER_NAMES",
    "OUTPUT_IMAGE",
    "PICTURE_EXTENSIONS",
    "PRESETS",
    "SCHEDULE_NAMES",
    "AnomalyDetector",
    "Architecture",
    "ConvAutoencoder",
    "ConvaeError",
    "Dataset",
    "Denoiser",
    "FormatSizes",
    "ImageArchive",
    "ImageCodec",
    "LatentDimCurve",
    "LatentSampler",
    "Result",
    "RunOptions",
    "TensorBoardLog",
    "TrainedModel",
    "__version__",
    "add_jobs",
    "add_noise",
    "check_dataset",
    "check_denoised",
    "check_detections",
    "check_folder",
    "check_latents_path",
    "check_output",
    "check_reconstructions",
    "check_samples_path",
    "check_training_folder",
    "compare_formats",
    "exact_batches",
    "fitted_batches",
    "job_kinds",
    "judge_training",
    "latent_dim_curve",
    "left_by",
    "load_dataset",
    "load_model",
    "model_identity",
    "newer_formats",
    "prepare_folder",
    "read_images",
    "train_model",
    "write_array",
    "write_denoised",
    "write_detections",
    "write_latents",
    "write_pictures",
    "write_reconstructions",
    "write_samples",
    "write_training",
]

_HOMES = {
    "AnomalyDetector": "convae.jobs.anomaly.detector",
    "Architecture": "convae.architecture.plan",
    "CHECKPOINT": "convae.report.runs",
    "ConvAutoencoder": "convae.autoencoder.estimator",
    "ConvaeError": "convae.errors",
    "Dataset": "convae.datasets",
    "Denoiser": "convae.jobs.denoise.denoiser",
    "FormatSizes": "convae.baselines.formats",
    "ImageArchive": "convae.coding.archive",
    "ImageCodec": "convae.jobs.codec.codec",
    "FLIPS": "convae.architecture.recipe",
    "LOSS_NAMES": "convae.architecture.recipe",
    "LatentDimCurve": "convae.jobs.latentdim",
    "LatentSampler": "convae.jobs.sample.sampler",
    "OPTIMIZER_NAMES": "convae.architecture.recipe",
    "OUTPUT_IMAGE": "convae.report.runs",
    "PICTURE_EXTENSIONS": "convae.images",
    "PRESETS": "convae.architecture.recipe",
    "Result": "convae.report.result",
    "RunOptions": "convae.architecture.run",
    "SCHEDULE_NAMES": "convae.architecture.recipe",
    "TensorBoardLog": "convae.autoencoder.tensorboard",
    "TrainedModel": "convae.jobs.model",
    "add_jobs": "convae.jobs.training",
    "add_noise": "convae.jobs.denoise.noise",
    "check_detections": "convae.jobs.anomaly.detections",
    "check_folder": "convae.report.runs",
    "check_dataset": "convae.datasets.load",
    "check_denoised": "convae.jobs.denoise.pictures",
    "check_latents_path": "convae.report.runs",
    "check_output": "convae.storage.files",
    "check_reconstructions": "convae.report.runs",
    "check_samples_path": "convae.jobs.sample.pictures",
    "check_training_folder": "convae.datasets.layout",
    "compare_formats": "convae.jobs.codec.comparison",
    "exact_batches": "convae.datasets",
    "fitted_batches": "convae.datasets",
    "job_kinds": "convae.jobs.kind",
    "judge_training": "convae.jobs.run",
    "latent_dim_curve": "convae.jobs.latentdim",
    "left_by": "convae.jobs.training",
    "load_dataset": "convae.datasets",
    "load_model": "convae.jobs.model",
    "model_identity": "convae.storage.modelfile",
    "newer_formats": "convae.baselines.formats",
    "prepare_folder": "convae.report.runs",
    "read_images": "convae.images",
    "train_model": "convae.jobs.training",
    "write_array": "convae.jobs.codec.extraction",
    "write_denoised": "convae.jobs.denoise.pictures",
    "write_detections": "convae.jobs.anomaly.detections",
    "write_latents": "convae.report.runs",
    "write_pictures": "convae.jobs.codec.extraction",
    "write_reconstructions": "convae.report.runs",
    "write_samples": "convae.jobs.sample.pictures",
    "write_training": "convae.jobs.run",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'convae' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
