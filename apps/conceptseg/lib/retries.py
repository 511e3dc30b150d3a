"""When something that failed may be tried again."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable

FIRST_PAUSE_S = 60.0
LONGEST_PAUSE_S = 3600.0


class Retries:
    """Pauses after failures; each further failure of the same thing doubles its pause, up to an hour.

    Args:
        now: gives the time in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._pauses: dict[Hashable, tuple[float, float]] = {}  # key -> end, length in seconds

    def failed(self, key: Hashable) -> float:
        """Note a failure; gives the pause in seconds."""
        pause = min(2 * self._pauses.get(key, (0.0, FIRST_PAUSE_S / 2))[1], LONGEST_PAUSE_S)
        self._pauses[key] = (self._now() + pause, pause)
        return pause

    def succeeded(self, key: Hashable) -> None:
        """Forget its failures."""
        self._pauses.pop(key, None)

    def is_due(self, key: Hashable) -> bool:
        """True unless its pause goes on."""
        return key not in self._pauses or self._now() >= self._pauses[key][0]
