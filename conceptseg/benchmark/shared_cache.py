"""Decoded images kept between the runs of one process."""

from __future__ import annotations

from typing import Any

from monai.data import CacheDataset

_CACHE: dict[tuple[str, ...], Any] = {}


class SharedCacheDataset(CacheDataset):
    """`CacheDataset` whose items, after the deterministic transforms, are kept for later runs too.

    Args:
        variant: stands for the deterministic transforms; items of another variant are not reused.
        args, kwargs: of `CacheDataset`.
    """

    def __init__(self, *args: Any, variant: str = "", **kwargs: Any) -> None:
        self.variant = variant
        super().__init__(*args, **kwargs)

    def _load_cache_item(self, idx: int) -> Any:
        """The item, from an earlier run if it had it."""
        item = self.data[idx]
        key = (self.variant, str(item["image"]), str(item["label"]))
        if key not in _CACHE:
            _CACHE[key] = super()._load_cache_item(idx)
        return _CACHE[key]
