"""The verb `demo`: a model of digits, and how good it is."""

import shlex
from pathlib import Path
from typing import Any

import click

from convae.cli.options import examples, json_option
from convae.cli.output import report_dataset, say
from convae.cli.training import train_and_tell
from convae.errors import DataUnavailableError

DEMO_PRESET, DEMO_EPOCHS = "fast", 2


@click.command(epilog=examples("convae demo", "convae demo --epochs 5 --out demo"))
@click.option(
    "--epochs", type=int, help="Default: 2 on MNIST; on the embedded digits, those of `train`."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path(),
    help="Folder for the results; earlier ones are replaced. Default: the current folder.",
)
@json_option
def demo(epochs: int | None, out: Path, as_json: bool) -> None:
    """Train on MNIST and picture the result.

    If MNIST is unavailable, the demo trains on the 1,797 handwritten digits that ship with
    scikit-learn.

    In Python: `ConvAutoencoder(epochs=2).fit(load_dataset("mnist").train)`.
    """
    from convae import ConvAutoencoder, load_dataset

    changes: dict[str, Any] = {} if epochs is None else {"epochs": epochs}
    ConvAutoencoder.from_preset(DEMO_PRESET, **changes).check()
    try:
        dataset = load_dataset("mnist")
        changes = {"epochs": DEMO_EPOCHS, **changes}
    except DataUnavailableError:
        say(
            "MNIST is not on this machine and cannot be downloaded now: training on the 1,797 "
            "handwritten digits embedded in scikit-learn instead.",
            err=True,
        )
        dataset = load_dataset("digits")
    report_dataset(dataset)
    options = [word for name, value in changes.items() for word in (f"--{name}", str(value))]
    again = shlex.join(("convae", "train", dataset.name, *options, "--out", str(out), "--resume"))
    model = ConvAutoencoder.from_preset(DEMO_PRESET, **changes)
    train_and_tell(
        dataset, model, [], out, overwrite=True, again=again, as_json=as_json, preset=DEMO_PRESET
    )
