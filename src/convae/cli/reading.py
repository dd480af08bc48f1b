"""Read images for a verb, with a bar on a terminal and a summary on standard error."""

from typing import TYPE_CHECKING, Any

from convae.cli.options import Reading
from convae.cli.output import report_dataset, say
from convae.cli.progress import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convae import Dataset, TrainedModel


def load(
    data: str, reading: Reading, size: int | tuple[int, ...] | None, channels: int | None
) -> "Dataset":
    """A data set; a summary goes to standard error."""
    from convae import check_output, load_dataset

    if reading.store is not None:
        check_output(reading.store, overwrite=reading.replace)
    with counted(f"reading {data}") as progress:
        dataset = load_dataset(
            data,
            size=size,  # type: ignore[arg-type] # checked there
            channels=channels,
            fit=reading.fit,
            strict=reading.strict,
            progress=progress,
            store=reading.store,
        )
    report_dataset(dataset)
    if reading.store is not None:
        part = "images" if dataset.test is None else "training images"
        line = f"the {part} are kept in {reading.store}, which can be used as data "
        say(line + "from now on", err=True)
    return dataset


def load_for(
    model: "TrainedModel", data: str, reading: Reading
) -> "tuple[Dataset, NDArray[Any], list[str]]":
    """A data set at a model's size; the images of its test part, if any, else all; their names."""
    height, width, channels = model.architecture.image_shape
    dataset = load(data, reading, (height, width), channels)
    return dataset, *dataset.judged()
