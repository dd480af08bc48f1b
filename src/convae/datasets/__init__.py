"""Data sets: by a name, or by a path to folders, arrays, IDX and Parquet files."""

from convae.datasets.load import Dataset, load_dataset

__all__ = ["Dataset", "load_dataset"]
