"""Keep some of all that comes by, each as likely as any other."""

import numpy as np


class Reservoir:
    """Tells which of the things that come by are kept (Vitter, "Random sampling with a reservoir").

    Args:
        seed: Decides it.
    """

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._num_seen = self._num_kept = 0

    def place(self, most: int) -> int | None:
        """Where the next thing is kept among the others, if at all.

        Args:
            most: How many may be kept; the same at each call.

        Returns:
            Its place: behind the last one while there is room, else that of one that it replaces.
        """
        self._num_seen += 1
        if self._num_seen <= most:
            self._num_kept += 1
            return self._num_kept - 1
        place = int(self._random.integers(self._num_seen))
        return place if place < most else None
