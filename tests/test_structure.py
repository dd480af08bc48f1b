import ast
import subprocess
import sys
from pathlib import Path

import pytest

import convae

ROOT = Path(convae.__file__).parent
# From the ground up. A module may import the rows above its own alone: so it can be read, tested
# and replaced knowing nothing of those below, and the modules of one row (the jobs, when they
# come, share one) know nothing of each other.
ROWS = [
    {
        "errors",
        "chart",
        "nn",
        "verbs",
        "components",
        "coding",
        "coding.threads",
        "coding.waves",
        "anomaly.cells",
        "anomaly.corruptions",
    },
    {
        "files",
        "images.memory",
        "images.resize",
        "strictjson",
        "nn.config",
        "nn.history",
        "split",
        "coding.prediction",
        "coding.rans",
        "coding.tiles",
        "coding.packing",
        "coding.decoder",
    },
    {
        "coding.contexts",
        "anomaly.neighbours",
        "images.contract",
        "images.pictures",
        "safefile",
        "nn.table",
    },
    {"images.store", "anomaly.calibration", "coding.lossless", "coding.rounding", "coding.samples"},
    {"datasets.arrays", "images.gather", "modelfile", "nn.checkpoint"},
    {"datasets.fit", "images.folders", "coding.contextmodel", "coding.latents"},
    {"images.exact", "coding.blocks"},
    {"coding.archive"},
    {"images", "anomaly.colours", "anomaly.edges", "anomaly.heat", "anomaly.suspects"},
    {
        "datasets.mnist",
        "datasets.parquet",
        "metrics",
        "nn.backend",
        "nn.products",
        "anomaly.spaces",
        "accounting",
        "extraction",
    },
    {
        "datasets.load",
        "nn.contexts",
        "nn.layers",
        "nn.losses",
        "nn.optimizers",
        "nn.predict",
        "nn.translate",
    },
    {"datasets", "nn.build", "nn.refine", "nn.statistics", "nn.steps"},
    {"nn.train", "provenance"},
    {"estimator"},
    {
        "anomaly.scores",
        "baseline",
        "figures",
        "latentcodes",
        "pixelcodes",
        "progress",
        "tensorboard",
    },
    {"anomaly.choice", "codec"},
    {"anomaly.stored"},
    {"anomaly.detector"},
    {"anomaly"},
    {"console", "runs"},
    {"detections"},
    {"verbs.compress", "verbs.detect", "verbs.info", "verbs.reconstruct", "verbs.train"},
    {"cli"},
    {"__main__"},
]
BACKENDS = {"keras", "jax", "jaxlib", "tensorflow", "torch"}
PATHS = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
    if path != ROOT / "__init__.py"
}


def imported_names(name, *, for_types=True):
    """All imports of a module, those inside functions too; `if TYPE_CHECKING:` on request."""
    nodes = [ast.parse(PATHS[name].read_text(encoding="utf-8"))]
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = f"{'.' * node.level}{node.module or ''}"
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            nodes.extend(ast.iter_child_nodes(node))
        elif for_types:
            nodes.extend(node.body)


def test_every_module_has_a_row():
    assert sorted(name for row in ROWS for name in row) == sorted(PATHS)


@pytest.mark.parametrize("name", PATHS)
def test_a_module_imports_only_the_rows_above_its_own(name):
    position = next(index for index, row in enumerate(ROWS) if name in row)
    above = {f"convae.{module}" for row in ROWS[:position] for module in row} | {"convae"}
    for found in imported_names(name):
        if found.startswith(("convae", ".")):
            assert found in above or found.rpartition(".")[0] in above - {"convae"}


def test_backends_are_imported_under_nn_alone():
    loading = {
        name
        for name in PATHS
        for found in imported_names(name, for_types=False)
        if found.split(".")[0] in BACKENDS
    }
    assert "nn.backend" in loading
    assert not [name for name in loading if not name.startswith("nn.")]


def test_no_module_has_more_than_500_lines():
    lengths = {path: path.read_text(encoding="utf-8").count("\n") for path in ROOT.rglob("*.py")}
    assert not {path for path, length in lengths.items() if length > 500}


@pytest.mark.parametrize("name", convae.__all__)
def test_every_public_name_resolves(name):
    assert getattr(convae, name) is not None
    assert name in dir(convae)


def test_an_unknown_name_is_refused_like_any_other():
    with pytest.raises(AttributeError, match="module 'convae' has no attribute 'Autoencoder'"):
        _ = convae.Autoencoder


def test_importing_and_looking_load_neither_a_backend_nor_scikit_learn(model_path):
    program = f"""
import contextlib, io, sys
import convae
def check(what):
    loaded = {{name.split(".")[0] for name in sys.modules}}
    heavy = loaded & {BACKENDS | {"sklearn", "scipy", "matplotlib"}}
    if heavy:
        sys.exit(f"{{what}} loads {{sorted(heavy)}}")
check("import convae")
from convae.cli import main
for arguments in (["--help"], ["train", "--help"], ["info"], ["info", {str(model_path)!r}]):
    with contextlib.redirect_stdout(io.StringIO()):
        code = main(arguments)
    check(f"convae {{arguments}}, exit code {{code}},")
    if code:
        sys.exit(code)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
