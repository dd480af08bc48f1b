import ast
import subprocess
import sys
from pathlib import Path

import pytest

import convae

ROOT = Path(convae.__file__).parent
# From the ground up. What is in a folder imports its own folder and those above it in this list:
# so each can be read, tested and replaced knowing nothing of those below.
FOLDERS = [
    "errors",
    "checks",
    "architecture",
    "storage",
    "images",
    "datasets",
    "coding",
    "nn",
    "autoencoder",
    "baselines",
    "report",
    "jobs",
    "cli",
    "__main__",
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


def own_imports(name):
    """The modules of convae that a module imports, without `convae.`."""
    for found in imported_names(name):
        assert not found.startswith("."), f"{name}: {found}"
        if found.startswith("convae."):
            known = found.removeprefix("convae.")
            yield known if known in PATHS else known.rpartition(".")[0]


def test_every_module_has_a_folder_in_the_list():
    assert sorted({name.partition(".")[0] for name in PATHS}) == sorted(FOLDERS)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_imports_itself_and_those_above_it(folder):
    allowed = FOLDERS[: FOLDERS.index(folder) + 1]
    for name in PATHS:
        if name.partition(".")[0] == folder:
            found = {imported.partition(".")[0] for imported in own_imports(name)}
            assert found <= {*allowed, ""}, name


def test_no_modules_import_each_other_in_a_circle():
    """Not even inside functions: who knows whom can be read off one list of modules."""
    left = {name: set(own_imports(name)) - {name, ""} for name in PATHS}
    while free := [name for name, found in left.items() if not found & left.keys()]:
        for name in free:
            del left[name]
    assert not left


def test_no_job_imports_another():
    for name in PATHS:
        if name.startswith("jobs.") and name.count(".") > 1:
            job = name.split(".")[1]
            others = {found.split(".")[1] for found in own_imports(name) if found.count(".") > 1}
            folders = {path.name for path in (ROOT / "jobs").iterdir() if path.is_dir()}
            assert not (others & folders) - {job}, name


HEAVY = BACKENDS | {"sklearn", "scipy", "matplotlib", "pandas", "pyarrow"}


def test_applying_a_job_imports_numpy_alone():
    """From what is *fitted*, no import leads to what fits, not even one inside a function."""
    left = [name for name in PATHS if name.startswith("jobs.") and name.endswith(".fitted")]
    assert len(left) == len(convae.job_kinds())
    reached = set()
    while left:
        name = left.pop()
        if name not in reached:
            reached.add(name)
            left += [found for found in own_imports(name) if found]
    assert "jobs.anomaly.scores" in reached
    for name in reached:
        found = {imported.split(".")[0] for imported in imported_names(name)}
        assert not found & HEAVY, name
    assert not [name for name in reached if name.startswith(("nn.", "datasets.", "baselines."))]


@pytest.mark.parametrize("name", [name for name in PATHS if name.startswith("cli.verbs.")])
def test_a_verb_speaks_to_the_public_names(name):
    for found in imported_names(name, for_types=False):
        if found.startswith("convae"):
            shared = ("convae.cli.", "convae.errors.", "convae.storage.files.printable")
            public = found.removeprefix("convae.") in convae.__all__
            assert public or found.startswith(shared), found


def test_backends_are_imported_under_nn_alone():
    loading = {
        name
        for name in PATHS
        for found in imported_names(name, for_types=False)
        if found.split(".")[0] in BACKENDS
    }
    assert "nn.backend" in loading
    assert not [name for name in loading if not name.startswith("nn.")]


def test_modules_are_short():
    lengths = {path: path.read_text(encoding="utf-8").count("\n") for path in ROOT.rglob("*.py")}
    assert not {path for path, length in lengths.items() if length > 500}
    assert sorted(lengths.values())[len(lengths) // 2] < 200


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
from convae.cli.main import main
for arguments in (["--help"], ["train", "--help"], ["info"], ["info", {str(model_path)!r}]):
    with contextlib.redirect_stdout(io.StringIO()):
        code = main(arguments)
    check(f"convae {{arguments}}, exit code {{code}},")
    if code:
        sys.exit(code)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
