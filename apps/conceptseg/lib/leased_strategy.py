"""Leases around any strategy: no image in two hands, none twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monailabel.interfaces.tasks.strategy import Strategy

from .batch_strategy import BatchStrategy
from .callers import ANONYMOUS
from .desk import Desk


class Offered:
    """A datastore that shows only the images that may be offered to one client."""

    def __init__(self, datastore, images: list[str]) -> None:
        self._datastore = datastore
        self._images = images

    def get_unlabeled_images(self, label_tag=None, labels=None) -> list[str]:
        """Images without a label that are in nobody's hands."""
        return list(self._images)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._datastore, name)


class LeasedStrategy(Strategy):
    """Any strategy, with leases: nobody gets an image that another has, or the same one twice.

    Args:
        name: in the record.
        inner: chooses. Its `prepare`, if it has one, is called first and may take long; its
            `options`, if it has any, are offered to the clients.
        desk: keeps the leases.
    """

    def __init__(self, name: str, inner: Strategy, desk: Desk) -> None:
        super().__init__(inner.description)
        self.name = name
        self.inner = inner
        self.desk = desk

    def info(self) -> dict[str, Any]:
        """Description, options for the clients, and how many images are scored."""
        options = self.inner.options() if hasattr(self.inner, "options") else {}
        info = {"description": self.description, "config": {"concepts": "", **options}}
        if isinstance(self.inner, BatchStrategy):
            info["scored"] = {n: self.desk.scores.progress(n) for n in self.desk.served}
        return info

    def __call__(self, request: Mapping[str, Any], datastore) -> dict[str, Any] | None:
        """The next image for the request's client; None when all are labelled or in other hands."""
        client = str(request.get("client_id") or ANONYMOUS)
        remark = self.desk.correct(request, datastore, client)
        if hasattr(self.inner, "prepare"):  # others are served meanwhile
            free = self._free_for(client, request, datastore)
            self.inner.prepare(request, Offered(datastore, free))
        with self.desk.lock:
            free = self._free_for(client, request, datastore)
            result = self.inner(request, Offered(datastore, free)) if free else None
            if not result or not result.get("id"):
                return None
            result.setdefault("reason", self.description)
            facts = {
                "strategy": self.name,
                "reason": result["reason"],
                "model": result.get("model"),
                "model_version": result.get("model_version"),
            }
            entry = self.desk.leases.grant(result["id"], client, facts)
        result["picked_by"] = self.name
        result["held_until"] = int(entry["until"])
        if remark:
            result["concepts_remark"] = remark
        return result

    def _free_for(self, client: str, request: Mapping[str, Any], datastore) -> list[str]:
        """Images that may be offered to a client now."""
        unlabelled = datastore.get_unlabeled_images(request.get("label_tag"), request.get("labels"))
        return self.desk.leases.free_for(client, unlabelled)
