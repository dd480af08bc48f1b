"""The pages show commands that parse, Python that runs, and figures that were measured."""

import contextlib
import json
import re
import runpy
import shlex
import tomllib
from pathlib import Path
from typing import NamedTuple

import click
import pytest

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
QUICKSTART_PAGE = "docs/quickstart.md"
QUICKSTART = PAGES[QUICKSTART_PAGE]
README, FIGURES, RELIABILITY = "README.md", "docs/figures.md", "docs/reliability.md"
MEASURED_HEADER = "| what | figure | beside it | command |"


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


def pairs(page, header):
    """The cells of the rows of a table with two columns."""
    (table,) = re.findall(rf"^{re.escape(header)}\n\|---\|---\|\n((?:\|.*\n)+)", page, re.MULTILINE)
    return [tuple(row.strip("| ").split(" | ")) for row in table.splitlines()]


def test_every_verb_has_its_python_and_the_other_way_round():
    twins = pairs(PAGES["docs/api.md"], "| verb | Python |")
    assert {verb.strip("`").split()[1] for verb, _ in twins} == set(commands.commands)
    for _, python in twins:
        # The first name in each piece of code; an option of the verb begins with a hyphen.
        names = re.findall(r"(?<=`)\w+", python)
        assert names
        assert set(names) <= set(convae.__all__), python
    assert pairs(PAGES["docs/cli.md"], "| Python | verb |") == [twin[::-1] for twin in twins]


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


@pytest.mark.parametrize("name", PAGES)
def test_no_page_quotes_a_measured_figure_from_memory(name):
    # Errors have three digits or more behind the point; settings have fewer.
    rows = {row.line for row in measured_rows(name)} if name in MEASURED else set()
    text = "\n".join(line for line in running_text(PAGES[name]).split("\n") if line not in rows)
    text = " ".join(text.split())
    for quoted in quotations(name):
        text = text.replace(quoted, "")
    assert re.findall(r"\b\d+\.\d{3,}", text) == []


# What running text quotes, and how it shows headline figures of a benchmark's result.
QUOTED = {
    "docs/index.md": [
        (
            "reference",
            "a mean squared error of {test_mse:.4f} on the test images of MNIST (mean of three "
            "seeds). PCA, which is far cheaper, reaches {pca16_test_mse:.4f}",
        )
    ],
    "docs/concepts.md": [
        (
            "calibration",
            "a detector flags {realised_at_1pct_doubled:.1%} of fresh threes at a stated 1% and "
            "{realised_at_5pct_doubled:.1%} at 5%",
        ),
        (
            "reference",
            "measured a test MSE of {test_mse:.4f} as the mean of three seeds, where PCA with the "
            "same 16 numbers has {pca16_test_mse:.4f}",
        ),
    ],
    QUICKSTART_PAGE: [
        ("quality", "| `fast` | {fast_test_mse:.4f} | {fast_refined_test_mse:.4f} |"),
        (
            "quality",
            "| `fast`, 30 epochs | {same_size_test_mse:.4f} | {same_size_refined_test_mse:.4f} |",
        ),
        ("quality", "| `best` | {best_unrefined_test_mse:.4f} | {best_test_mse:.4f} |"),
    ],
}


def headline(benchmark):
    path = ROOT / "benchmarks" / "results" / f"{benchmark}.json"
    return json.loads(path.read_text(encoding="utf-8"))["headline"]


def quotations(name):
    return [words.format(**headline(benchmark)) for benchmark, words in QUOTED.get(name, [])]


@pytest.mark.parametrize("name", QUOTED)
def test_what_running_text_quotes_was_measured(name):
    text = " ".join(PAGES[name].split())
    assert [quoted for quoted in quotations(name) if quoted not in text] == []


# The rows of each page in their order: the benchmark, words that say what the row is about, and how
# its two cells show headline figures of the benchmark's result.
MEASURED = {
    README: [
        ("reference", "`reference`", "{test_mse:.4f}", "PCA, 16 numbers: {pca16_test_mse:.4f}"),
        (
            "quality",
            "`best`",
            "{best_unrefined_test_mse:.4f}",
            "with `--refine 4`: {best_test_mse:.4f}",
        ),
        (
            "few_images",
            "after 300 digits of MNIST, relative to PCA's",
            "{mnist_300_vs_pca:.2f}",
            "the same network in plain Keras, stopped early: {keras_mnist_300_vs_pca:.2f}",
        ),
        (
            "anomaly",
            "one digit",
            "{one_class_mean_auroc:.3f}",
            "best method without a network: {best_cheap_one_class_mean_auroc:.3f}",
        ),
        (
            "anomaly",
            "nine digits",
            "{left_out_mean_auroc:.3f}",
            "best method without a network: {best_cheap_left_out_mean_auroc:.3f}",
        ),
        (
            "calibration",
            "at a stated rate of 1%",
            "{realised_at_1pct:.1%}",
            "test digits, by other writers: {realised_on_test_at_1pct:.1%}",
        ),
        (
            "compression",
            "in one file with the model",
            "{lossless_bpp_with_model:.2f}",
            "best of PNG, WebP, AVIF, JPEG XL, zlib, bz2 and xz: {best_peer_file_bpp:.2f}",
        ),
        (
            "compression_photographs",
            "model not counted",
            "{seen_bits_a_byte:.2f}",
            "best of the same formats, one file per tile: {seen_best_peer_single:.2f}",
        ),
        (
            "time_to_quality",
            "from a cold start",
            "1x",
            "a plain Keras script on TensorFlow: {vs_keras_tensorflow:.1f}x",
        ),
        ("archive_fuzz", "wrong pixels", "{wrong_pixels:.0f}", "of {changed_archives:,.0f}"),
    ],
    FIGURES: [
        ("reference", "`reference`", "{test_mse:.4f}", "PCA, 16 numbers: {pca16_test_mse:.4f}"),
        (
            "quality",
            "`fast`",
            "{fast_test_mse:.4f}",
            "with `--refine 4`: {fast_refined_test_mse:.4f}",
        ),
        (
            "quality",
            "`fast`, 30 epochs",
            "{same_size_test_mse:.4f}",
            "with `--refine 4`: {same_size_refined_test_mse:.4f}",
        ),
        (
            "quality",
            "`best`",
            "{best_unrefined_test_mse:.4f}",
            "with `--refine 4`: {best_test_mse:.4f}",
        ),
        (
            "few_images",
            "after 1,000 digits of MNIST, relative to PCA's",
            "{mnist_1000_vs_pca:.2f}",
            "the same network in plain Keras, stopped early: {keras_mnist_1000_vs_pca:.2f}",
        ),
        (
            "few_images",
            "after 300 digits",
            "{mnist_300_vs_pca:.2f}",
            "the same network in plain Keras, stopped early: {keras_mnist_300_vs_pca:.2f}",
        ),
        (
            "few_images",
            "after 1,000 threes",
            "{mnist_digit_3_vs_pca:.2f}",
            "highest of all sets: {worst_row_vs_pca:.2f}",
        ),
        (
            "few_images",
            "after 10,000 small color photographs",
            "{colour_10000_vs_pca:.2f}",
            "with 64 numbers: {colour_10000_64_numbers_vs_pca:.2f}; "
            "with 128: {colour_10000_128_numbers_vs_pca:.2f}",
        ),
        (
            "few_images",
            "`--refine 4`, relative to that without",
            "{median_refined_over_plain:.2f}",
            "time of a training, relative to one without distortions: "
            "{median_time_over_undistorted:.1f}x",
        ),
        (
            "few_images",
            "relative to the training error, 1,000 images or more",
            "{worst_test_over_train:.1f}",
            "of the embedded digits, which no distortion suits",
        ),
        (
            "anomaly",
            "AUROC, one digit",
            "{one_class_mean_auroc:.3f}",
            "best method without a network: {best_cheap_one_class_mean_auroc:.3f}",
        ),
        (
            "anomaly",
            "AUROC, nine digits",
            "{left_out_mean_auroc:.3f}",
            "best method without a network: {best_cheap_left_out_mean_auroc:.3f}",
        ),
        (
            "anomaly",
            "memory of that method, relative to the detector, one digit",
            "{best_cheap_one_class_state_ratio:.0f}x",
            "nine digits normal: {best_cheap_left_out_state_ratio:.0f}x",
        ),
        (
            "calibration",
            "at a stated rate of 1%",
            "{realised_at_1pct:.1%}",
            "at 5%: {realised_at_5pct:.1%}",
        ),
        (
            "calibration",
            "test images, by other writers",
            "{realised_on_test_at_1pct:.1%}",
            "at 5%: {realised_on_test_at_5pct:.1%}",
        ),
        (
            "calibration",
            "each image learned from twice",
            "{realised_at_1pct_doubled:.1%}",
            "at 5%: {realised_at_5pct_doubled:.1%}",
        ),
        (
            "calibration",
            "each image with a near-copy",
            "{realised_at_1pct_near_copies:.1%}",
            "at 5%: {realised_at_5pct_near_copies:.1%}",
        ),
        (
            "calibration",
            "a tenth of the training images are anomalies",
            "{auroc_loss_at_10pct_dirt:.3f}",
            "share of them listed as suspects: {suspects_found:.0%}",
        ),
        (
            "compression",
            "MNIST in one file",
            "{lossless_bpp:.2f}",
            "with everything decoding needs: {lossless_bpp_with_model:.2f}",
        ),
        (
            "compression",
            "best of all formats",
            "{best_peer_file_bpp:.2f}",
            "static context model, entropy bound: {best_counted_bpp:.2f}",
        ),
        (
            "compression",
            "latents alone, with `--refine 4`",
            "{tiny_bytes_per_image:.1f}",
            "test MSE {tiny_test_mse:.4f}",
        ),
        (
            "compression_photographs",
            "in one file, model not counted",
            "{seen_bits_a_byte:.2f}",
            "best of all formats, one file per tile: {seen_best_peer_single:.2f}",
        ),
        (
            "compression_photographs",
            "best of all formats, all tiles in one file",
            "{seen_best_peer_together:.2f}",
            "tiles from which on convae and its model beat PNG: {break_even_tiles:.0f}",
        ),
        (
            "compression_photographs",
            "not learned from",
            "{unseen_bits_a_byte:.2f}",
            "best of all formats, all tiles in one file: {unseen_best_peer_together:.2f}",
        ),
        (
            "archive_scaling",
            "to write a million images",
            "{peak_writing_mb:.0f} MB",
            "to read them: {peak_reading_mb:.0f} MB",
        ),
        ("archive_fuzz", "wrong pixels", "{wrong_pixels:.0f}", "of {changed_archives:,.0f}"),
        (
            "time_to_quality",
            "from a cold start",
            "1x",
            "a plain Keras script on TensorFlow: {vs_keras_tensorflow:.1f}x",
        ),
        (
            "training_speed",
            "images per second",
            "{vs_keras_tensorflow:.1f}x Keras on TensorFlow",
            "{vs_pytorch_float32:.1f}x a plain PyTorch loop",
        ),
        (
            "demo",
            "`convae demo`",
            "{demo_over_three_reference_epochs:.2f}x",
            "its test MSE: {demo_test_mse:.4f}",
        ),
        (
            "convolution",
            "native convolutions, relative to convae's",
            "{native_over_product:.1f}x",
            "lowest and highest ratio: {native_over_product_min:.1f}x, "
            "{native_over_product_max:.1f}x",
        ),
        (
            "startup",
            "`convae --help`",
            "{help_cpu_s:.2f} s",
            "relative to importing Keras: {help_over_import_keras:.2f}x",
        ),
        (
            "scaling",
            "a million images, cost per image relative to 10,000 images",
            "{cost_ratio_1m_vs_10k:.2f}x",
            "peak memory, pages of the file excluded: {memory_ratio_1m_vs_10k:.2f}x",
        ),
        ("install_size", "default install", "{mb:.0f} MB", "{packages:.0f} packages"),
    ],
    RELIABILITY: [
        (
            "odd_files",
            "odd picture files",
            "{faults:.0f} faults",
            "of {files:,.0f}: {came_back_exactly:,.0f} came back exactly, "
            "{named_with_a_reason:,.0f} were named with a reason",
        ),
        ("reliability", "killed", "{kill_faults:.0f} faults", "of {kills:.0f}"),
        (
            "reliability",
            "eight threads",
            "{threads_wrong:.0f} differ",
            "each from a model that was just read",
        ),
        (
            "reliability",
            "peak memory",
            "{peak_mb_64mp:.0f} MB",
            "color of 8 bits, packed and unpacked",
        ),
        (
            "archive_fuzz",
            "changed archives",
            "{wrong_pixels:.0f} faults",
            "of {changed_archives:,.0f}",
        ),
        (
            "model_fuzz",
            "changed model files",
            "{mutant_faults:.0f} faults",
            "of {mutants:,.0f}: {refused:,.0f} were refused, {fine:,.0f} worked",
        ),
        (
            "calibration",
            "false alarms at a stated rate of 1%, each image learned from twice",
            "{realised_at_1pct_doubled:.1%}",
            "at 5%: {realised_at_5pct_doubled:.1%}",
        ),
    ],
}


class MeasuredRow(NamedTuple):
    """A row of a page's tables of figures."""

    line: str
    what: str
    figure: str
    beside: str
    command: str


def measured_rows(name):
    """All rows of a page's tables of figures."""
    rows = []
    for table in re.findall(r"^\|.*\n(?:\|.*\n)*", PAGES[name], re.MULTILINE):
        header, _, *lines = table.splitlines()
        if header == MEASURED_HEADER:
            rows += [MeasuredRow(line, *line.strip("| ").split(" | ")) for line in lines]
    return rows


@pytest.mark.parametrize("name", MEASURED)
def test_every_row_of_figures_is_checked(name):
    assert len(measured_rows(name)) == len(MEASURED[name])


def test_the_readme_has_ten_figures_and_the_page_of_figures_no_other_table():
    assert len(measured_rows(README)) == 10
    tables = re.findall(r"(?<!\|\n)^\|.*$", PAGES[FIGURES], re.MULTILINE)
    assert set(tables) == {MEASURED_HEADER}


@pytest.mark.parametrize(
    ("name", "number"),
    [(name, number) for name, rows in MEASURED.items() for number in range(len(rows))],
)
def test_a_row_quotes_what_was_measured_and_names_its_command(name, number):
    benchmark, about, figure, beside = MEASURED[name][number]
    found = headline(benchmark)
    row = measured_rows(name)[number]
    assert about in row.what
    # What a row is about has settings in it, and no figure.
    assert not re.search(r"\d\.\d", row.what)
    assert row.figure == figure.format(**found)
    assert row.beside == beside.format(**found)
    assert row.command == f"`python benchmarks/{benchmark}.py`"
    assert (ROOT / "benchmarks" / f"{benchmark}.py").exists()
