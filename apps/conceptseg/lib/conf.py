"""What may stand after `--conf` on the command line."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable

logger = logging.getLogger(__name__)

OWN_KEYS = (
    "bundles",
    "bundles_dir",
    "model_dir",
    "device",
    "cache_size",
    "cache_gb",
    "preload",
    "auto_scoring",
    "score_images",
    "lease_minutes",
)
# read by MONAI Label 0.8.5 itself
MONAI_LABEL_KEYS = ("server_mode", "models", "auth_token", "zoo_repo", "zoo_source")


def warn_of_unknown(keys: Iterable[str]) -> None:
    """Warn of every key that nobody reads, with the one that was probably meant."""
    known = (*OWN_KEYS, *MONAI_LABEL_KEYS)
    for key in keys:
        if key in known:
            continue
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "correct or remove it."
        logger.warning(
            "Expected one of %s after --conf, got %r, which has no effect; %s",
            ", ".join(OWN_KEYS),
            key,
            hint,
        )
