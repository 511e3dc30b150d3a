"""A bounded cache that computes each entry once, also when several requests ask at the same time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any


class OnceCache:
    """Keeps the `limit` most recently used values; safe under concurrent use.

    Args:
        limit: entries kept, at least 1.
        nbytes: memory of a value in bytes; None: not asked.
        max_bytes: fewer entries are kept where they take more than this together; the newest always is.

    Example::

        cache = OnceCache(4)
        value, was_cached = cache.get("case_1", lambda: expensive("case_1"))
    """

    def __init__(
        self, limit: int, nbytes: Callable[[Any], int] | None = None, max_bytes: float = 0
    ) -> None:
        if limit < 1:
            raise ValueError(f"Expected a cache limit of 1 or more, got {limit}. Raise it.")
        self.limit = limit
        self.nbytes = nbytes
        self.max_bytes = max_bytes
        self._entries: OrderedDict[Hashable, Any] = OrderedDict()
        self._making: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable, make: Callable[[], Any]) -> tuple[Any, bool]:
        """The value of `key` and whether it was there; `make` computes it if not.

        When `make` raises, nothing is kept and the error goes on to the caller.
        """
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:  # a second request for the same key waits here instead of computing again
            with self._lock:
                if key in self._entries:
                    self._entries.move_to_end(key)
                    self._making.pop(key, None)
                    return self._entries[key], True
            try:
                value = make()
                with self._lock:
                    self._entries[key] = value
                    while len(self._entries) > self.limit or self._too_large():
                        self._entries.popitem(last=False)
                return value, False
            finally:
                with self._lock:
                    self._making.pop(key, None)

    def _too_large(self) -> bool:
        """Whether more than one entry is kept, and together they take too much memory."""
        if self.nbytes is None or len(self._entries) < 2:
            return False
        return sum(map(self.nbytes, self._entries.values())) > self.max_bytes

    def forget(self, key: Hashable) -> None:
        """Forget one value, if it is kept."""
        with self._lock:
            self._entries.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
