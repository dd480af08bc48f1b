"""`ConvAutoencoder`: the scikit-learn estimator around one network, its training and its file.

Jobs beyond reconstructing (compression, anomalies and the like) are modules of their own that
compose a fitted estimator.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from convae.architecture.history import records_from_json
from convae.architecture.plan import SMALLEST_SIDE, Architecture
from convae.architecture.recipe import (
    PRESETS,
    TrainingOptions,
    are_met_often,
    enough_epochs,
    filters_for,
)
from convae.architecture.run import UNOBSERVED, RunOptions
from convae.autoencoder.applied import AppliedAutoencoder, Floats
from convae.autoencoder.augmentation import Augmentation, choose_augmentation
from convae.autoencoder.provenance import describe_images, library_versions
from convae.errors import ModelFileError, ParameterError
from convae.images.copies import copy_groups, num_copies
from convae.images.distortion import DISTORTIONS, Distortion, distortion_of
from convae.images.selection import ImagesLike, Selection, held_out_indices
from convae.nn.network import KerasNetwork
from convae.storage.modelfile import FittedJob, ModelContents, read_model, write_model

if TYPE_CHECKING:
    import keras


class ConvAutoencoder(
    AppliedAutoencoder,
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc] # scikit-learn is untyped
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """A convolutional autoencoder: images to a few latent numbers and back.

    Images are uint8, or floats in [0, 1], of shape `(num_images, height, width, channels)` with 1,
    3 or 4 channels and sides of 8 or more; a missing channel axis is accepted.

    Args:
        filters: Filters of each stage of the encoder; each stage halves the image. None takes
            (32, 64) for images of up to 28 pixels a side, and more and thinner stages for larger.
        latent_dim: Length of the latent vector.
        encoder_passes: How often the encoder looks at an image, from 1 to 16. At its second pass it
            sees its reconstruction too, and corrects the latents by the difference. That lowers the
            error of a trained network at no cost in training; encoding takes three times as long.
        loss: "mse", "mae", "bce" (binary cross-entropy) or "ssim" (1 - SSIM).
        epochs: Passes over the training images; None takes `fewest_epochs`, or as many more as make
            1,000 steps; twice as many if images are distorted.
        fewest_epochs: The fewest passes where `epochs` is None and images are not distorted.
        batch_size: Images per step.
        optimizer: "adam", or "muon" (orthogonalized momentum for kernels, Adam for the rest).
        learning_rate: Initial step size.
        learning_rate_schedule: "constant", or "cosine" or "linear" (down to 0 at the last step).
        weight_decay: Share of a weight that a step of size 1 would take away.
        translation: Largest number of pixels by which an image is shifted at random, down or up and
            right or left, each time it is met; edge pixels are repeated. None lets `fit` choose, as
            it does for the next four: nothing if images are met no more than 4 times; else what is
            natural to the images (`augmentation_`).
        warp: Strength, from 0 to 4, of random turns (6 degrees at 1), scalings (6 %), shears and
            smooth waves of half of the images, each time they are met.
        flip: "none", "horizontal" (right and left change sides), "vertical" or "both": how half of
            the images are flipped, each time they are met.
        brightness: Standard deviation, from 0 to 1, of a number that is added to all pixels of an
            image; half of them get one, each time they are met.
        tint: The same for each of three colors, with a number for each.
        validation_split: Fraction of the images held out to validate on; copies and near-copies of
            an image go with it. With any, the weights of the best epoch are kept.
        patience: Stop after this many epochs without a lower validation loss; None never stops.
        recompute_statistics: Recompute the statistics of batch normalization before validating and
            at the end, instead of trusting moving averages that lag behind on few images.
        seed: Decides the first weights, the split and the order of the images: the same seed gives
            the same weights on the same machine and backend.

    Attributes:
        architecture_: The network's `Architecture`.
        history_: A dict for each epoch: epoch, loss, val_loss, learning_rate, elapsed_s.
        n_iter_: Epochs trained.
        data_: What is known of the training images: their number, shape, dtype and SHA-256.
        validation_indices_: Indices, ascending, of the images held out to validate on; after `fit`
            only, since a file does not hold the images.
        augmentation_: What was chosen of `translation`, `warp`, `flip`, `brightness` and `tint` if
            one of them was None, and why (`convae.autoencoder.augmentation.Augmentation`), else
            None; after `fit` only.
        num_copies_: How many images are copies or near-copies of others, if any are held out, else
            0; after `fit` only.

    Example:
        >>> import numpy as np
        >>> from convae import ConvAutoencoder
        >>> images = np.random.default_rng(0).integers(0, 256, (16, 12, 10, 3), dtype=np.uint8)
        >>> model = ConvAutoencoder(filters=(4,), latent_dim=2, epochs=1).fit(images)
        >>> model.transform(images).shape
        (16, 2)
        >>> model.reconstruct(images).shape
        (16, 12, 10, 3)
    """

    # For `set_output`, scikit-learn wraps the methods that the class itself defines.
    transform = AppliedAutoencoder.transform

    def __init__(
        self,
        filters: tuple[int, ...] | None = None,
        latent_dim: int = 16,
        *,
        encoder_passes: int = 2,
        loss: str = "mse",
        epochs: int | None = None,
        fewest_epochs: int = 4,
        batch_size: int = 32,
        optimizer: str = "muon",
        learning_rate: float = 0.012,
        learning_rate_schedule: str = "linear",
        weight_decay: float = 0.04,
        translation: int | None = None,
        warp: float | None = None,
        flip: str | None = None,
        brightness: float | None = None,
        tint: float | None = None,
        validation_split: float = 0.0,
        patience: int | None = None,
        recompute_statistics: bool = True,
        seed: int = 0,
    ) -> None:
        self.filters = filters
        self.latent_dim = latent_dim
        self.encoder_passes = encoder_passes
        self.loss = loss
        self.epochs = epochs
        self.fewest_epochs = fewest_epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.learning_rate_schedule = learning_rate_schedule
        self.weight_decay = weight_decay
        self.translation = translation
        self.warp = warp
        self.flip = flip
        self.brightness = brightness
        self.tint = tint
        self.validation_split = validation_split
        self.patience = patience
        self.recompute_statistics = recompute_statistics
        self.seed = seed

    @staticmethod
    def build(
        width: int,
        height: int,
        depth: int,
        filters: Sequence[int] = (32, 64),
        latent_dim: int = 16,
        seed: int | None = None,
    ) -> "keras.Model":
        """The untrained Keras model, for those who train it themselves.

        Args:
            width: Columns of an image, 8 or more.
            height: Rows of an image, 8 or more.
            depth: Channels of an image: 1, 3 or 4.
            filters: Filters of each stage of the encoder.
            latent_dim: Length of the latent vector.
            seed: Makes the first weights repeatable; None draws them at random.

        Returns:
            A Keras model named `autoencoder`, whose two layers are the Keras models `encoder` and
            `decoder`, from float32 `(batch, height, width, depth)` in [0, 1] to the same.

        Raises:
            ParameterError: A number is outside its range.
        """
        architecture = Architecture(height, width, depth, tuple(filters), latent_dim)
        return _build(architecture, seed)

    @classmethod
    def from_preset(cls, name: str, **changes: Any) -> Self:  # noqa: ANN401 # any parameter's type
        """An unfitted estimator with the parameters of a preset, and `changes` over them.

        Raises:
            ParameterError: There is no such preset.
        """
        if name not in PRESETS:
            raise ParameterError(
                f"A preset must be one of {', '.join(PRESETS)}; received {name!r}. "
                f"Choose one of them."
            )
        return cls(**{**PRESETS[name], **changes})

    def fit(
        self,
        X: ImagesLike,
        y: object = None,  # noqa: ARG002 # scikit-learn's signature
        *,
        run: RunOptions = UNOBSERVED,
    ) -> Self:
        """Train on images; there are no labels.

        Args:
            X: The images; or some of those of an array, as a `convae.images.selection.Selection`.
            y: Ignored; scikit-learn passes it.
            run: What the training keeps on the disk, and who watches it.

        Returns:
            The estimator itself.

        Raises:
            ParameterError: A parameter is outside its range, or training diverged.
            ImageError: X breaks the image contract.
            ModelFileError: The checkpoint to resume from is missing, damaged or of another run.
            KeyboardInterrupt: Ctrl-C was pressed; the checkpoint is written.
        """
        chosen = Selection.of(X)
        architecture = self.plan(chosen)
        options, augmentation = self._training_options(chosen)
        split = options.validation_split
        groups = copy_groups(chosen) if split else None
        held_out = held_out_indices(len(chosen), split, options.seed, groups=groups)
        data = describe_images(chosen)

        model = _build(architecture, options.seed)
        from convae.nn.train import train

        records = train(
            model,
            architecture,
            options,
            chosen.images,
            chosen.without(held_out).indices,
            chosen.take(held_out).indices,
            fingerprint=str(data["sha256"]),
            run=run,
        )
        self.architecture_ = architecture
        self.history_ = [record.to_json() for record in records]
        self._options = options
        self.data_ = data
        self.augmentation_ = augmentation
        self.validation_indices_ = held_out
        self.num_copies_ = 0 if groups is None else num_copies(groups)
        self._channel_axis = chosen.channel_axis
        self._versions = library_versions()
        self._network = KerasNetwork.of(architecture, model)
        self._jobs: dict[str, FittedJob] = {}
        return self

    @property
    def n_iter_(self) -> int:
        """Epochs trained."""
        return len(self.history_)

    @property
    def network_(self) -> KerasNetwork:
        """The trained network.

        Raises:
            sklearn.exceptions.NotFittedError: `fit` or `load` has not been called.
        """
        check_is_fitted(self, "architecture_")
        return self._network

    @property
    def channel_axis_(self) -> bool:
        """Whether the images trained on came with a channel axis."""
        check_is_fitted(self, "architecture_")
        return self._channel_axis

    @property
    def keras_model(self) -> "keras.Model":
        """The Keras model `autoencoder`; training it further changes this estimator too.

        Its encoder looks at an image once, so its latents are those of `encoder_passes=1`.

        Raises:
            sklearn.exceptions.NotFittedError: `fit` or `load` has not been called.
        """
        return self.network_.keras_model

    @property
    def weights_(self) -> dict[str, Floats]:
        """Copies of all weights, keyed `model/layer/variable`."""
        return self.network_.weights()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the one model file (docs/format), whole or not at all.

        Jobs from the file that the network was loaded from are kept.

        Raises:
            OutputError: The file cannot be written.
        """
        write_model(path, self.to_contents())

    def to_contents(self) -> ModelContents:
        """What `save` writes."""
        check_is_fitted(self, "architecture_")
        history = [
            {name: value for name, value in record.items() if name != "elapsed_s"}
            for record in self.history_
        ]
        return ModelContents(
            architecture=self.architecture_,
            weights=self.weights_,
            preprocessing={"channel_axis": self._channel_axis},
            data=self.data_,
            training={"options": self._options.to_json(), "history": history},
            versions=self._versions,
            jobs=self._jobs,
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a model file, which may come from a stranger: nothing in it is ever run.

        Raises:
            ModelFileError: The file is missing, damaged, hostile or too new.
        """
        return cls.from_contents(read_model(path), str(path))

    @classmethod
    def from_contents(cls, contents: ModelContents, origin: str = "the model file") -> Self:
        """A fitted estimator from what `convae.storage.modelfile.read_model` returned.

        Raises:
            ModelFileError: The training options in it are not ones this program knows.
        """
        architecture = contents.architecture
        try:
            options = TrainingOptions.from_json(contents.training["options"])
            records = records_from_json(contents.training["history"])
        except (ParameterError, KeyError, TypeError) as error:
            raise ModelFileError(
                f"{origin} cannot be used: its training section must hold the options and the "
                f"history of a training; received something else ({error}). "
                f"Get the file again from whoever made it."
            ) from error
        model = cls(
            filters=architecture.filters,
            latent_dim=architecture.latent_dim,
            encoder_passes=architecture.encoder_passes,
            **options.to_json(),
        )
        model.architecture_ = architecture
        model.history_ = [record.to_json() for record in records]
        model._options = options
        model.data_ = contents.data
        model._channel_axis = contents.preprocessing["channel_axis"]
        model._versions = contents.versions
        model._network = KerasNetwork(architecture, contents.weights)
        model._jobs = contents.jobs
        return model

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401 # scikit-learn's Tags is untyped
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.target_tags.required = False
        tags.transformer_tags.preserves_dtype = []
        return tags

    @property
    def _n_features_out(self) -> int:
        # scikit-learn names the columns of `transform` after it.
        return self.architecture_.latent_dim

    def plan(self, images: Selection) -> Architecture:
        """The network that `fit` would build for images.

        Raises:
            ParameterError: A parameter is outside its range.
        """
        return self._architecture(*images.shape[1:])

    def recipe(self, images: Selection) -> TrainingOptions:
        """The recipe by which `fit` would train on images, with all that is left open chosen.

        Raises:
            ParameterError: A parameter is outside its range.
        """
        return self._training_options(images)[0]

    def check(self) -> None:
        """Refuse what `fit` would refuse, before anything is read.

        Raises:
            ParameterError: A parameter is outside its range.
            BackendError: This process cannot compute.
            MissingExtraError: The backend's package is not installed.
        """
        self._architecture(SMALLEST_SIDE, SMALLEST_SIDE, 1)
        self._options_with(1, Distortion())
        from convae.nn.backend import start

        start()

    def _architecture(self, height: int, width: int, channels: int) -> Architecture:
        filters = filters_for(height, width) if self.filters is None else self.filters
        return Architecture(height, width, channels, filters, self.latent_dim, self.encoder_passes)

    def _training_options(self, images: Selection) -> tuple[TrainingOptions, Augmentation | None]:
        """The recipe for images, and what was chosen of it by looking at them."""
        num_images = len(images)
        checked = self._options_with(num_images, Distortion())
        # They are chosen together, where they are left open.
        given = {name: getattr(self, name) for name in DISTORTIONS}
        left_open = [name for name, value in given.items() if value is None]
        often = are_met_often(num_images, checked.batch_size, self.fewest_epochs, self.epochs)
        if not left_open or not often:
            return checked, None
        found = choose_augmentation(images, checked.seed)
        chosen = replace(
            found.distortion,
            **{name: getattr(checked, name) for name in DISTORTIONS if name not in left_open},
        )
        return self._options_with(num_images, chosen), replace(found, distortion=chosen)

    def _options_with(self, num_images: int, distortion: Distortion) -> TrainingOptions:
        """The recipe for so many images, with what is left open of their distortion."""
        values = {name: getattr(self, name) for name in TrainingOptions.__dataclass_fields__}
        for name in DISTORTIONS:
            if values[name] is None:
                values[name] = getattr(distortion, name)
        if self.epochs is None:
            checked = TrainingOptions(**{**values, "epochs": 1})
            values["epochs"] = enough_epochs(
                num_images,
                checked.batch_size,
                self.fewest_epochs,
                distorted=bool(distortion_of(checked)),
            )
        return TrainingOptions(**values)


def _build(architecture: Architecture, seed: int | None) -> "keras.Model":
    from convae.nn.build import build_model

    return build_model(architecture, seed)
