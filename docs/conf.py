import json
import re
from pathlib import Path

import click
from numpy.typing import ArrayLike
from sphinx.application import Sphinx
from sphinx.errors import ConfigError
from sphinx.util.typing import stringify_annotation

import convae

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"


def measured(name: str, figure: str) -> float:
    """A headline figure of a benchmark's result, so that no page quotes one from memory.

    Raises:
        ConfigError: The result is missing, or has no such figure.
    """
    path = RESULTS / f"{name}.json"
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["headline"][figure])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ConfigError(
            f"The pages need headline.{figure} of benchmarks/results/{name}.json; reading it gave "
            f"{error!r}. Run: python benchmarks/{name}.py"
        ) from error


project = "convae"
author = "The convae authors"
copyright = author
version = release = convae.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "convae"
html_copy_source = False

myst_enable_extensions = ["substitution"]
myst_heading_anchors = 3
myst_substitutions = {
    "reference_test_mse": f"{measured('reference', 'test_mse'):.4f}",
    "pca16_test_mse": f"{measured('reference', 'pca16_test_mse'):.4f}",
    "flagged_doubled_1pct": f"{measured('calibration', 'realised_at_1pct_doubled'):.1%}",
    "flagged_doubled_5pct": f"{measured('calibration', 'realised_at_5pct_doubled'):.1%}",
    **{
        figure: f"{measured('quality', figure):.4f}"
        for figure in (
            "fast_test_mse",
            "fast_refined_test_mse",
            "same_size_test_mse",
            "same_size_refined_test_mse",
            "best_unrefined_test_mse",
            "best_test_mse",
        )
    },
}

# A word in single backticks is code, as in Markdown, and two hyphens begin an option.
default_role = "code"
smartquotes = False
autodoc_member_order = "bysource"

# Classes of other packages and of Python: to know their pages, a build would need the network.
nitpick_ignore_regex = [
    ("py:.*", r"(collections|keras|numpy|os|pathlib|sklearn|typing)\..*"),
    ("py:exc", "KeyboardInterrupt"),
]

# Annotations as they are written, instead of what they stand for in NumPy and in our own modules.
READABLE = [
    (re.escape(stringify_annotation(ArrayLike, "smart")), "~numpy.typing.ArrayLike"),
    (
        r"~numpy\.ndarray\[tuple\[~typing\.Any, \.\.\.\], ~numpy\.dtype\[([\w.~]+)\]\]",
        r"~numpy.typing.NDArray[\1]",
    ),
    (r"\bSequence\[Observer\]", "~collections.abc.Sequence[~convae.architecture.run.Observer]"),
    (r"\bconvae\.datasets\.Dataset\b", "convae.Dataset"),
    (r"RunOptions\(checkpoint_path=None, .*?observers=\(\)\)", "RunOptions()"),
    (r"<class '[\w.]+\.(\w+)'>", r"\1"),
    (r"<factory>", "..."),
]


def shorten_signature(
    _app: Sphinx,
    _what: str,
    _name: str,
    _documented: object,
    _options: object,
    signature: str | None,
    returned: str | None,
) -> tuple[str | None, str | None]:
    """Write the types of a signature the short way."""
    for pattern, short in READABLE:
        signature, returned = (
            text if text is None else re.sub(pattern, short, text) for text in (signature, returned)
        )
    return signature, returned


def skip_foreign_member(
    _app: Sphinx, _what: str, _name: str, member: object, _skip: bool, _options: object
) -> bool | None:
    """Leave out what a class inherits from scikit-learn, whose own pages document it."""
    return True if (getattr(member, "__module__", None) or "").startswith("sklearn.") else None


def drop_type_docstring(
    _app: Sphinx, what: str, _name: str, _value: object, _options: object, lines: list[str]
) -> None:
    """Leave out what Python says of the type of a constant; its page says what the constant is."""
    if what == "data":
        lines.clear()


def show_default_path(_app: Sphinx, _context: click.Context, lines: list[str]) -> None:
    """Show a default folder by its name, not as an object of the system that builds the pages."""
    lines[:] = [re.sub(r"\w+Path\(('.*')\)", r"\1", line) for line in lines]


def show_examples(_app: Sphinx, _context: click.Context, lines: list[str]) -> None:
    """Show the commands at the end of a verb's help as code."""
    if lines:
        commands = [line.removeprefix("|").strip() for line in lines[1:]]
        lines[:] = ["Example:", "", ".. code-block:: shell", ""]
        lines.extend(f"   {command}" for command in commands)
        lines.append("")


def setup(app: Sphinx) -> None:
    """Register the functions above."""
    app.connect("autodoc-process-signature", shorten_signature)
    app.connect("autodoc-process-docstring", drop_type_docstring)
    app.connect("autodoc-skip-member", skip_foreign_member)
    app.connect("sphinx-click-process-options", show_default_path)
    app.connect("sphinx-click-process-epilog", show_examples)
