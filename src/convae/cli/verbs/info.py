"""The verb `info`: what a model file says of itself. It loads no backend."""

import json
from pathlib import Path
from typing import Any

import click

from convae.cli.options import examples, json_option
from convae.cli.output import echo_json, say

SHOWN = ("model", "name", "kind", "output_shape", "num_parameters", "num_trainable")


@click.command(epilog=examples("convae info", "convae info mnist/model.safetensors"))
@click.argument("model", type=click.Path(path_type=Path), required=False)
@json_option
def info(model: Path | None, as_json: bool) -> None:
    """Print the layers, training, data and versions of MODEL.

    Without MODEL: the layers of the reference network for MNIST. It loads no backend.

    In Python: `load_model`, and `Architecture.layers`.
    """
    from convae import PRESETS, Architecture, load_model, model_identity

    if model is None:
        preset = PRESETS["reference"]
        architecture = Architecture(28, 28, 1, preset["filters"], preset["latent_dim"])
        report: dict[str, Any] = {}
    else:
        contents = load_model(model).contents
        architecture = contents.architecture
        report = {
            "model": str(model),
            "sha256": model_identity(model),
            "data": contents.data,
            "training": contents.training,
            "versions": contents.versions,
            "jobs": {name: job.settings for name, job in contents.jobs.items()},
        }
    rows = list(architecture.layers())
    total = sum(row.num_parameters for row in rows)
    trainable = sum(row.num_trainable for row in rows)
    report |= {
        "architecture": architecture.to_json(),
        "num_parameters": total,
        "num_trainable": trainable,
        "num_non_trainable": total - trainable,
    }
    if as_json:
        layers = [{name: getattr(row, name) for name in SHOWN} for row in rows]
        echo_json({**report, "layers": layers})
        return
    say("autoencoder")
    for part in ("encoder", "decoder"):
        own = [row for row in rows if row.model == part]
        say(f"  {part:<26}{'':<18}{'':<18}{sum(row.num_parameters for row in own):>10,}")
        for row in own:
            shape = " x ".join(map(str, row.output_shape))
            say(f"    {row.name:<24}{row.kind:<20}{shape:<16}{row.num_parameters:>10,}")
    say(f"parameters {total:,}: {trainable:,} trainable, {total - trainable:,} not")
    say(f"passes of the encoder over an image: {architecture.encoder_passes}")
    if model is not None:
        _echo_training(report)


def _echo_training(report: dict[str, Any]) -> None:
    # As JSON, since an untrusted file may hold anything here, control characters included.
    history = report["training"].get("history")
    last = history[-1] if isinstance(history, list) and history else None
    parts = {
        "trained on": report["data"],
        "last epoch": last,
        "options": report["training"].get("options"),
        "versions": report["versions"],
        **{f"job {name}": settings for name, settings in report["jobs"].items()},
    }
    for name, part in parts.items():
        say(f"{name} {json.dumps(part)}")
    say(f"sha256 {report['sha256']}")
