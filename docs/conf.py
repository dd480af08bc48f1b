import re

import click
from numpy.typing import ArrayLike
from sphinx.application import Sphinx
from sphinx.util.typing import stringify_annotation

import convae

project = "convae"
author = "The convae authors"
copyright = author
version = release = convae.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "convae"
html_copy_source = False

myst_heading_anchors = 3

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
