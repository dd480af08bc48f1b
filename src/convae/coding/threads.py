"""Work that is shared out over threads: NumPy lets others run while it computes."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

# `map`, or that of some threads: what comes of the work is the same.
Run = Callable[..., Iterable[Any]]


@contextmanager
def threads() -> Iterator[Run]:
    """The `map` of a thread for each core; matrix products keep to the thread they are in.

    Beside the main thread it is Python's own `map`: whoever calls from there has threads of their
    own, and OpenBLAS does not lift a limit again that was set there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield map
        return
    with _SINGLE_PRODUCTS, ThreadPoolExecutor(os.cpu_count()) as pool:
        yield pool.map


class _SingleProducts:
    """Keeps matrix products to one thread until the last block is left, in whatever order."""

    def __init__(self) -> None:
        self._limit = ExitStack()
        self._num_blocks = 0

    def __enter__(self) -> None:
        if not self._num_blocks:
            self._limit.enter_context(_libraries().limit(limits=1, user_api="blas"))
        self._num_blocks += 1

    def __exit__(self, *_: object) -> None:
        self._num_blocks -= 1
        if not self._num_blocks:
            self._limit.close()


_SINGLE_PRODUCTS = _SingleProducts()


@cache
def _libraries() -> ThreadpoolController:
    """The libraries that compute in threads; looking for them takes longer than a small block."""
    return ThreadpoolController()


def do_in_parts(run: Run, work: Callable[[slice], None], count: int, size: int) -> None:
    """Do the work for so many things, given as slices of some of them at a time."""
    parts = [slice(first, min(first + size, count)) for first in range(0, count, size)]
    # Handing a single part to another thread and waiting for it would take longer than many take.
    deque((run if len(parts) > 1 else map)(work, parts), maxlen=0)
