"""The pages show commands that parse, Python that runs, and figures that were measured."""

import contextlib
import json
import re
import runpy
import shlex
import shutil
import tomllib
from pathlib import Path

import click
import pytest
from sphinx.errors import ConfigError

import convae
from convae import errors
from convae.architecture.recipe import LOSS_NAMES, PRESETS
from convae.cli.main import commands
from convae.images import write_image

ROOT = Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
QUICKSTART = PAGES["docs/quickstart.md"]


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def running_text(page):
    return re.sub(r"```.*?```", "", page, flags=re.DOTALL)


def shown_commands(page):
    """The words after `convae` of each such line in a shell block, whatever is set before it."""
    for block in blocks(page, "(?:shell|console|bash|sh)"):
        for line in block.splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words.pop(0)
            if words and words[0] == "convae":
                yield words[1:]


def mentioned_commands(page):
    """The words after `convae` in running text, which may leave arguments out."""
    for text in re.findall(r"`convae ([a-z][^`]*)`", running_text(page)):
        yield text.split()


def parse(words):
    """Parse a command line as convae would, and run nothing."""
    with contextlib.suppress(click.exceptions.Exit):  # of --help and --version
        if words[0] in commands.commands:
            commands.commands[words[0]].make_context(words[0], words[1:])
        else:
            commands.make_context("convae", words)
            raise click.UsageError(f"No such command {words[0]!r}.")


@pytest.mark.parametrize("name", PAGES)
def test_every_command_that_a_page_shows_parses(name):
    for words in shown_commands(PAGES[name]):
        parse(words)


@pytest.mark.parametrize("name", PAGES)
def test_every_command_that_a_page_mentions_exists_with_its_options(name):
    for words in mentioned_commands(PAGES[name]):
        known = {option for param in commands.commands[words[0]].params for option in param.opts}
        assert {word for word in words if word.startswith("-")} <= known, words


@pytest.mark.parametrize("line", ["train", "train a --nosuch", "train a --loss l3", "frobnicate"])
def test_a_command_that_is_wrong_does_not_parse(line):
    with pytest.raises(click.UsageError):
        parse(line.split())


def test_the_quickstart_shows_every_verb():
    assert {words[0] for words in shown_commands(QUICKSTART)} == set(commands.commands)


def test_the_page_of_the_command_line_is_made_from_its_help():
    (directive,) = blocks(PAGES["docs/cli.md"], "{eval-rst}")
    assert directive == (
        ".. click:: convae.cli.main:commands\n   :prog: convae\n   :nested: full\n"
    )


def test_the_quickstart_names_every_preset_and_every_extra():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {*PRESETS, *project["optional-dependencies"]} - {"dev", "test"}
    assert {name for name in names if f"`{name}`" not in QUICKSTART} == set()


def test_the_concepts_name_every_loss():
    concepts = PAGES["docs/concepts.md"]
    assert {name for name in LOSS_NAMES if f"| `{name}` |" not in concepts} == set()


def test_the_python_page_documents_every_public_name_and_every_error():
    documented = set(re.findall(r"^\.\. auto\w+:: (\S+)$", PAGES["docs/api.md"], re.MULTILINE))
    public = {f"convae.{name}" for name in convae.__all__}
    raised = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.ConvaeError)
    }
    assert public - {"convae.__version__", "convae.ConvaeError"} <= documented
    assert raised <= documented


def test_the_python_of_the_quickstart_runs(digits, tmp_path, monkeypatch):
    for index, digit in enumerate(digits[:20]):
        write_image(tmp_path / "pictures" / f"{index:02}.png", digit)
    script = tmp_path / "quickstart.py"
    script.write_text("\n".join(blocks(QUICKSTART, "python")), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    names = runpy.run_path(str(script))
    assert names["latents"].shape == (20, 16)
    assert names["pictures"].shape == names["dataset"].train.shape == (20, 28, 28, 1)
    assert names["scores"].shape == names["groups"].shape == (20,)
    assert names["network"].count_params() == 178_769
    assert (tmp_path / "parts.safetensors").exists()


@pytest.mark.parametrize("name", [name for name in PAGES if name.startswith("docs/")])
def test_no_page_quotes_a_measured_figure_from_memory(name):
    # Errors have three digits or more behind the point; settings have fewer.
    assert re.findall(r"\b\d+\.\d{3,}", running_text(PAGES[name])) == []


@pytest.mark.parametrize("result", [None, "{}", '{"headline": {"test_mse": "small"}}', "["])
def test_the_pages_are_not_built_without_a_measured_figure(result, tmp_path):
    (tmp_path / "docs").mkdir()
    configuration = shutil.copy(ROOT / "docs" / "conf.py", tmp_path / "docs")
    if result is not None:
        results = tmp_path / "benchmarks" / "results"
        results.mkdir(parents=True)
        (results / "reference.json").write_text(result, encoding="utf-8")
    with pytest.raises(
        ConfigError,
        match=r"^The pages need headline\.test_mse of benchmarks/results/reference\.json; reading "
        r"it gave .+\. Run: python benchmarks/reference\.py$",
    ):
        runpy.run_path(str(configuration))


@pytest.mark.parametrize(
    ("benchmark", "figure", "shown"),
    [
        ("reference", "test_mse", "{:.4f}"),
        ("reference", "pca16_test_mse", "PCA, 16 numbers: {:.4f}"),
        ("quality", "fast_test_mse", "{:.4f}"),
        ("quality", "fast_refined_test_mse", "with `--refine 4`: {:.4f}"),
        ("quality", "same_size_test_mse", "{:.4f}"),
        ("quality", "same_size_refined_test_mse", "with `--refine 4`: {:.4f}"),
        ("quality", "best_unrefined_test_mse", "{:.4f}"),
        ("quality", "best_test_mse", "with `--refine 4`: {:.4f}"),
        ("anomaly", "one_class_mean_auroc", "{:.3f}"),
        ("anomaly", "best_cheap_one_class_mean_auroc", "best without a network: {:.3f}"),
        ("anomaly", "left_out_mean_auroc", "{:.3f}"),
        ("anomaly", "best_cheap_left_out_mean_auroc", "best without a network: {:.3f}"),
        ("anomaly", "best_cheap_one_class_state_ratio", "{:.0f}"),
        ("anomaly", "best_cheap_left_out_state_ratio", "nine digits: {:.0f}"),
        ("calibration", "realised_at_1pct", "{:.1%}"),
        ("calibration", "realised_at_5pct", "at 5 %: {:.1%}"),
        ("calibration", "auroc_loss_at_10pct_dirt", "{:.3f}"),
        ("calibration", "suspects_found", "of these among the suspects: {:.0%}"),
        ("compression", "lossless_bpp", "{:.2f}"),
        ("compression", "lossless_bpp_with_model", "with all that decoding needs: {:.2f}"),
        ("compression", "best_peer_file_bpp", "{:.2f}"),
        ("compression", "best_counted_bpp", "counted contexts, ideally: {:.2f}"),
        ("compression", "tiny_bytes_per_image", "{:.1f}"),
        ("compression", "tiny_test_mse", "test MSE {:.4f}"),
        ("compression_photographs", "seen_bits_a_byte", "{:.2f}"),
        (
            "compression_photographs",
            "seen_best_peer_single",
            "best of PNG, WebP, AVIF, JPEG XL, zlib, bz2 and xz, a file each: {:.2f}",
        ),
        ("compression_photographs", "unseen_bits_a_byte", "{:.2f}"),
        (
            "compression_photographs",
            "unseen_best_peer_together",
            "together, as a sheet or one stream: {:.2f}",
        ),
        ("archive_scaling", "peak_writing_mb", "{:.0f} MB"),
        ("archive_scaling", "peak_reading_mb", "to read them: {:.0f} MB"),
        ("archive_fuzz", "wrong_pixels", "{:.0f}"),
        ("archive_fuzz", "changed_archives", "of {:,.0f}"),
        ("time_to_quality", "vs_keras_tensorflow", "Keras on TensorFlow, a plain script: {:.1f}"),
        ("training_speed", "vs_keras_tensorflow", "times those of Keras on TensorFlow: {:.1f}"),
        ("training_speed", "vs_pytorch_float32", "times those of a plain PyTorch loop: {:.1f}"),
        ("demo", "demo_test_mse", "whole `convae demo`, test MSE {:.4f}"),
        ("demo", "demo_over_three_reference_epochs", "{:.2f}"),
        ("scaling", "cost_ratio_1m_vs_10k", "{:.2f}"),
        ("scaling", "memory_ratio_1m_vs_10k", "{:.2f}"),
        ("startup", "help_cpu_s", "{:.2f} s"),
        ("startup", "help_over_import_keras", "{:.2f} times that of importing Keras"),
        ("convolution", "native_over_product", "Keras's native convolutions: {:.1f}"),
        ("install_size", "mb", "{:.0f} MB"),
        ("install_size", "packages", "{:.0f} packages"),
    ],
)
def test_the_readme_quotes_what_was_measured_and_names_its_command(benchmark, figure, shown):
    result = json.loads((ROOT / "benchmarks" / "results" / f"{benchmark}.json").read_text())
    quoted = f"| {shown.format(result['headline'][figure]).replace('%', ' %')} |".replace(
        "  %", " %"
    )
    command = f"| `python benchmarks/{benchmark}.py` |"
    rows = [row for row in PAGES["README.md"].split("\n") if row.endswith(command)]
    assert [row for row in rows if quoted in row]
