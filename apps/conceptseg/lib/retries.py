"""When something that failed may be tried again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable
from typing import TypeVar

from conceptseg.image_formats import UnusableImageError

from .faults import FileState

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 60.0
LONGEST_PAUSE_S = 3600.0
Made = TypeVar("Made")


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


class ImageTries:
    """Work on images of a datastore, where one that fails must not stop the others.

    A file whose content is at fault is tried again when it has changed, all else after a pause.

    Args:
        now: gives the time in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._retries = Retries(now)
        self._unusable: dict[Hashable, FileState] = {}

    def may_be_tried(self, key: Hashable) -> bool:
        """False for what is unusable and has not changed since, or rests."""
        state = self._unusable.get(key)
        return self._retries.is_due(key) and (state is None or state.has_changed())

    def run(self, key: Hashable, image: str, datastore, work: Callable[[str], Made]) -> Made | None:
        """What `work` makes of the image's file; None where that fails, which is remembered.

        Args:
            key: of the image and what the work depends on, such as the version of the weights.
            image: name in the studies.
            datastore: of the studies.
            work: gets the path of the file.
        """
        state = None
        try:
            path = datastore.get_image_uri(image)
            state = FileState(path)
            return work(path)
        except Exception as error:
            if state is not None and isinstance(error, UnusableImageError):
                self._unusable[key] = state
                logger.warning("'%s' cannot be scored: %s", image, error)
                return None
            pause = self._retries.failed(key)
            logger.warning("'%s' is scored again in %.0f s", image, pause, exc_info=True)
            return None
