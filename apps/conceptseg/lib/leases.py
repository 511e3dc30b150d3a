"""Which image is in whose hands: kept on disk, so that a restart gives no image to two people."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from conceptseg.atomic import write_text_atomic

DEFAULT_MINUTES = 120.0


class Leases:
    """Images handed out to clients, each for a limited time.

    Args:
        path: JSON file.
        minutes: after which an image that was not saved is free again.
        now: gives the time in seconds.
    """

    def __init__(
        self, path: Path, minutes: float = DEFAULT_MINUTES, now: Callable[[], float] = time.time
    ) -> None:
        self.path = path
        self.minutes = minutes
        self._now = now
        self._lock = threading.RLock()
        self._held: dict[str, dict[str, Any]] = {}
        if path.is_file():
            self._held = json.loads(path.read_text(encoding="utf-8"))

    def free_for(self, client: str, images: Iterable[str]) -> list[str]:
        """Those of `images` that may be offered to a client, sorted.

        Left out are images in other hands and images the client was offered already. When nothing
        else is left, the one it was offered first comes again.
        """
        with self._lock:
            held = self._current()
            images = sorted(images)
            free = [image for image in images if image not in held]
            own = [i for i in images if i in held and held[i]["client"] == client]
            if free or not own:
                return free
            return [min(own, key=lambda image: held[image]["since"])]

    def grant(self, image: str, client: str, facts: dict[str, Any]) -> dict[str, Any]:
        """Hand an image to a client; gives the entry.

        Args:
            image: name in the studies.
            client: who gets it.
            facts: why it was picked, kept for the record.
        """
        with self._lock:
            now = self._now()
            entry = {"client": client, "since": now, "until": now + 60 * self.minutes, **facts}
            self._held = {**self._current(), image: entry}
            self._write()
            return entry

    def release(self, image: str) -> dict[str, Any] | None:
        """Take an image back, as after saving; gives its entry, also an expired one."""
        with self._lock:
            entry = self._held.pop(image, None)
            if entry is not None:
                self._write()
            return entry

    def _current(self) -> dict[str, dict[str, Any]]:
        """Entries that have not expired."""
        now = self._now()
        return {image: entry for image, entry in self._held.items() if entry["until"] > now}

    def _write(self) -> None:
        """Write the file in one step."""
        write_text_atomic(self.path, json.dumps(self._held, indent=1) + "\n")
