"""The notebook for learners runs, shows what it says, and is stored fit for others to read."""

import copy
import re
from pathlib import Path

import nbclient
import nbformat
import pytest

PATH = Path(__file__).parents[1] / "examples" / "Autoencoder.ipynb"
ABSOLUTE_PATH = r"""(?:^|[\s'"(=:])/\w+/|\b[A-Z]:\\"""


@pytest.fixture(scope="module")
def stored():
    return nbformat.read(PATH, as_version=4)


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def printed(notebook):
    return "".join(output.text for output in outputs(notebook) if output.output_type == "stream")


def num_pictures(notebook):
    return sum("image/png" in output.get("data", {}) for output in outputs(notebook))


def compared_errors(notebook):
    """The test MSE of each method that the notebook compares."""
    lines = re.findall(r"^(\w.*?) +\d+ numbers, test MSE (\S+)$", printed(notebook), re.MULTILINE)
    return {name: float(error) for name, error in lines}


def test_the_notebook_runs_offline_and_the_autoencoder_beats_pca(stored, tmp_path, monkeypatch):
    monkeypatch.delenv("CONVAE_DATA", raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nobody answers
    notebook = copy.deepcopy(stored)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    folder = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=folder).execute()
    assert all(output.output_type != "error" for output in outputs(notebook))
    assert all(output.get("name") != "stderr" for output in outputs(notebook))
    errors = compared_errors(notebook)
    assert errors["autoencoder"] < errors["PCA"] < errors["mean picture"]
    assert num_pictures(notebook) == num_pictures(stored)
    assert list(tmp_path.iterdir()) == []


def test_the_stored_notebook_shows_its_results(stored):
    nbformat.validate(stored)
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    errors = compared_errors(stored)
    assert errors["autoencoder"] < errors["PCA"] < errors["mean picture"]
    assert num_pictures(stored) >= 8
    assert PATH.stat().st_size < 600_000


def test_the_stored_notebook_tells_nothing_of_the_machine_that_ran_it(stored):
    assert stored.metadata.kernelspec.name == "python3"
    assert set(stored.metadata) == {"kernelspec", "language_info"}
    assert set(stored.metadata.language_info) == {"name"}
    assert [cell.metadata for cell in stored.cells] == [{}] * len(stored.cells)
    for output in outputs(stored):
        assert output.output_type in ("stream", "display_data")
        assert output.get("name") != "stderr"
        assert output.get("metadata", {}) == {}
        data = output.get("data", {})
        for text in (output.get("text", ""), data.get("text/plain", ""), data.get("text/html", "")):
            assert re.search(ABSOLUTE_PATH, text) is None, text
