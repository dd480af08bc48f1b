"""Which jobs there are: each folder of `convae.jobs` describes its job in `JOB`."""

import importlib
import pkgutil
from dataclasses import dataclass
from functools import cache
from typing import Any

import convae.jobs


@dataclass(frozen=True, slots=True)
class JobOption:
    """A parameter of a job that `convae train` offers.

    Args:
        name: The parameter's name; the option is spelled with hyphens.
        kind: Its type.
        default: What it is unless given.
        metavar: What stands for its value in the help.
        summary: What it does.
    """

    name: str
    kind: type
    default: Any
    metavar: str
    summary: str


@dataclass(frozen=True, slots=True)
class JobKind:
    """What a model can be fitted for.

    Args:
        name: In the model file, and after `--for`.
        summary: What the help says.
        what: What a message calls it, with its article.
        estimator: `module:class` of the `convae.jobs.job.Job` that fits it.
        fitted: `module:class` of what applies it, made with `from_job`.
        options: The parameters that `convae train` offers.
    """

    name: str
    summary: str
    what: str
    estimator: str
    fitted: str
    options: tuple[JobOption, ...] = ()

    def estimator_class(self) -> Any:  # noqa: ANN401 # a class that this module must not know
        """The class that fits it; it loads scikit-learn."""
        return _named(self.estimator)

    def fitted_class(self) -> Any:  # noqa: ANN401 # a class that this module must not know
        """The class that applies it; it needs NumPy alone."""
        return _named(self.fitted)


@cache
def job_kinds() -> dict[str, JobKind]:
    """All kinds of jobs by name."""
    folders = sorted(
        module.name for module in pkgutil.iter_modules(convae.jobs.__path__) if module.ispkg
    )
    found = [importlib.import_module(f"convae.jobs.{folder}").JOB for folder in folders]
    return {kind.name: kind for kind in found}


def _named(path: str) -> Any:  # noqa: ANN401
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
