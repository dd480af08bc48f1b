"""Every error that convae raises on purpose; it raises no other error for bad input.

    ConvaeError
    ├── ParameterError          a setting is outside its range            (also a ValueError)
    ├── ImageError              an array or a picture breaks the contract (also a ValueError)
    ├── DataError               a data set cannot be found or read
    │   └── DataUnavailableError    it is not here and cannot be downloaded
    ├── ModelFileError          a stored file is damaged, hostile or new  (also a ValueError)
    ├── OutputError             a file cannot be written                  (also an OSError)
    ├── BackendError            this process cannot compute               (also a RuntimeError)
    └── MissingExtraError       an optional package is not installed      (also an ImportError)

A message states the rule, what was received and the remedy, in that order.
"""


class ConvaeError(Exception):
    """The root: catch this to catch all of them."""


class ParameterError(ConvaeError, ValueError):
    """A parameter of a class, a function or the command line is outside its range."""


class ImageError(ConvaeError, ValueError):
    """An array or a picture file breaks the image contract of `convae.images`."""


class DataError(ConvaeError):
    """A data set cannot be found, downloaded or read."""


class DataUnavailableError(DataError):
    """A data set that is known by name is not on this machine and cannot be downloaded now."""


class ModelFileError(ConvaeError, ValueError):
    """A stored file is not ours, is damaged, is hostile, or is newer than this program."""


class OutputError(ConvaeError, OSError):
    """A file cannot be written; whatever stood there before is untouched."""


class BackendError(ConvaeError, RuntimeError):
    """The library that computes cannot do so in this process or on this machine."""


class MissingExtraError(ConvaeError, ImportError):
    """A feature needs a package that the default install leaves out."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs an optional package, and it is not installed. "
            f'Install it with: pip install "convae[{extra}]"'
        )
