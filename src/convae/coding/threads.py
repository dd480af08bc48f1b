"""Work that is shared out over threads: NumPy lets others run while it computes."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

# `map`, or that of some threads: what comes of the work is the same.
Run = Callable[..., Iterable[Any]]


@contextmanager
def threads() -> Iterator[Run]:
    """The `map` of a thread for each core; matrix products keep to the thread they are in."""
    with _libraries().limit(limits=1, user_api="blas"), ThreadPoolExecutor(os.cpu_count()) as pool:
        yield pool.map


@cache
def _libraries() -> ThreadpoolController:
    """The libraries that compute in threads; looking for them takes longer than a small block."""
    return ThreadpoolController()


def do_in_parts(run: Run, work: Callable[[slice], None], count: int, size: int) -> None:
    """Do the work for so many things, given as slices of some of them at a time."""
    parts = [slice(first, min(first + size, count)) for first in range(0, count, size)]
    deque(run(work, parts), maxlen=0)
