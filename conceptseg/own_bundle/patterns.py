"""Which bundle a new one follows: the one whose network its first weights fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..start_weights import OtherNetworkError
from .writing import OwnBundle, bundle_of, is_volume_bundle, write_own_bundle

VOLUMES, PICTURES = "hippocampus_mr_segmentation", "polyp_endoscopy_segmentation"


def patterns_for(shipped: Path, is_volume: bool, weights: Path | None = None) -> list[Path]:
    """Bundles that a new one may follow, the likeliest first.

    Args:
        shipped: folder of this project's bundles.
        is_volume: the images have slices; otherwise they are pictures.
        weights: to start from. The bundle they lie in comes first where it is one of `shipped`, last
            where somebody has made it: what is not chosen anew is then the shipped one's.

    Raises:
        ValueError: the weights lie in a bundle of the other kind of images.
    """
    usual = VOLUMES if is_volume else PICTURES
    if weights is None:
        return [shipped / usual]
    source = bundle_of(weights)
    if source is not None and is_volume_bundle(source) != is_volume:
        kind = "volumes" if is_volume else "pictures"
        raise ValueError(
            f"expected weights of a bundle of {kind}, as the images are, got {weights}; start from"
            " others, or from none"
        )
    known = [path.parent.parent for path in sorted(shipped.glob("*/docs/card.yaml"))]
    known = [path for path in known if is_volume_bundle(path) == is_volume]
    known.sort(key=lambda path: (path.resolve() != source, path.name != usual))
    own = source is not None and (source / "docs" / "card.yaml").is_file()
    return known + ([source] if own and source not in [path.resolve() for path in known] else [])


def write_after_first_fit(
    target: Path,
    patterns: Sequence[Path],
    own: OwnBundle,
    weights: Path | None = None,
    weights_keywords: Sequence[str] | None = None,
) -> Path:
    """`write_own_bundle` after the first of `patterns` that the weights fit; gives that pattern.

    Raises:
        OtherNetworkError: the weights fit none.
    """
    for pattern in patterns:
        try:
            write_own_bundle(target, pattern, own, weights, weights_keywords)
        except OtherNetworkError:
            continue
        return pattern
    names = ", ".join(pattern.name for pattern in patterns)
    raise OtherNetworkError(
        f"expected weights that fit {names}, got another network's in {weights}; give the bundle"
        " they were trained by as --like"
    )
