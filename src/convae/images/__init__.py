"""Images: the contract they keep; reading, fitting, storing, writing them; nothing is trained."""

from convae.images.contract import as_images, to_float, to_uint8
from convae.images.folders import read_images
from convae.images.gather import FolderImages
from convae.images.pictures import PICTURE_EXTENSIONS, read_exact, read_image, write_image
from convae.images.resize import Fit, fit_channels, fit_size
from convae.images.store import store_images

__all__ = [
    "PICTURE_EXTENSIONS",
    "Fit",
    "FolderImages",
    "as_images",
    "fit_channels",
    "fit_size",
    "read_exact",
    "read_image",
    "read_images",
    "store_images",
    "to_float",
    "to_uint8",
    "write_image",
]
