"""Which image a label can be of that follows an upload.

Slicer (MONAI Label 0.8.5) uploads a volume under its name of the moment, but sends its label under
the name that the volume had when it was loaded, and which another image of the studies may have.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import HTTPException

from .problems import bad_request


class Uploads:
    """What clients have uploaded and not labelled yet, and the labels that were refused for it."""

    def __init__(self) -> None:
        self._ready: dict[str, set[str]] = {}  # client -> images its next label can be of
        self._refused: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    @contextmanager
    def upload(self, client: str, image: str) -> Iterator[None]:
        """Note an upload under a name of the studies, which the block takes, or refuses with an error.

        Args:
            client: who uploads; "" for the server itself.
            image: the name.
        """
        try:
            yield
        except HTTPException:  # what the client shows is not the image of this name
            with self._lock:
                self._ready.get(client, set()).discard(image)
                self._refused.add((client, image))
            raise
        with self._lock:
            self._ready.setdefault(client, set()).add(image)
            self._refused.discard((client, image))

    def opened(self, image: str, client: str | None = None) -> None:
        """A client has got an image from here; without its name, any client may have."""
        with self._lock:
            for name in [client] if client else [*self._ready, *(c for c, _ in self._refused)]:
                if name in self._ready:
                    self._ready[name].add(image)
                self._refused.discard((name, image))

    def check_label(self, client: str, image: str) -> None:
        """Refuse with error 400 a label that is not of an image which the client has uploaded or got.

        Only the first label after uploads is in doubt, and what was refused until it is got from here.
        """
        if not client:
            return
        with self._lock:
            ready = self._ready.pop(client, None)
            if ready is not None and image not in ready:
                self._refused.add((client, image))
            if (client, image) not in self._refused:
                return
        raise bad_request(
            f"Expected a label of the volume that you uploaded last, got one of '{image}', another image of"
            " the studies: Slicer keeps the name that a volume had when it was loaded. Save the"
            " segmentation, load the volume anew, rename it and press Upload Volume before you submit;"
            f" if you do mean '{image}', open it from the server first (Next Sample)."
        )


def opening(endpoint: Callable, instance: Callable[[], Any]) -> Callable:
    """The endpoint that sends an image to a client, which may label it from then on.

    Args:
        endpoint: coroutine function with the argument `image`.
        instance: gives the MONAI Label app.
    """

    @functools.wraps(endpoint)
    async def run(**arguments: Any) -> Any:
        answer = await endpoint(**arguments)
        uploads = getattr(instance().datastore(), "uploads", None)
        if uploads is not None:
            uploads.opened(arguments["image"])
        return answer

    return run
