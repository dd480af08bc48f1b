"""Data sets: by a name, or by a path to folders, arrays, IDX and Parquet files."""

from convae.datasets.load import Dataset, load_dataset
from convae.datasets.packing import exact_batches, fitted_batches

__all__ = ["Dataset", "exact_batches", "fitted_batches", "load_dataset"]
