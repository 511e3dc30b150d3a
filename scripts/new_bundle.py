"""Make a bundle for your own labels: what it trains, infers and is served with in MONAI Label."""

import argparse
import logging
import sys
from pathlib import Path

from conceptseg.own_bundle import (
    PICTURES,
    VOLUMES,
    OwnBundle,
    choose_for_volumes,
    images_in,
    is_volume_bundle,
    patterns_for,
    survey_images,
    with_task,
    write_after_first_fit,
)

BUNDLES = Path(__file__).resolve().parents[1] / "bundles"
CT_WINDOW = (-160.0, 240.0)  # soft tissue, level 40 and width 400


def main() -> int:
    """Look at the images, choose, write, say what comes next."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "out",
        type=Path,
        help="folder of the new bundle; its name is the model's and ends in _segmentation",
    )
    parser.add_argument("--labels", nargs="+", required=True, help="names of label values 1, 2 ...")
    parser.add_argument("--images", type=Path, required=True, help="folder with some of the images")
    parser.add_argument("--title", help="of its README, such as 'Kidneys in CT'")
    parser.add_argument("--modality", help="MR, CT, ultrasound, xray, endoscopy, skin, wound ...")
    parser.add_argument(
        "--like",
        type=Path,
        help=f"bundle to follow; if not given, that of the weights, else {VOLUMES} or {PICTURES}, by"
        " the images; wound_photo_segmentation for objects of 1 %% of a picture",
    )
    parser.add_argument("--spacing", nargs=3, type=float, help="mm; -1 keeps an axis as it is")
    parser.add_argument("--slice_axes", nargs="+", type=int, choices=(0, 1, 2), help="2: axial")
    parser.add_argument("--slice_size", type=int, help="pixels of a slice, a multiple of 16")
    parser.add_argument(
        "--window",
        nargs=2,
        type=float,
        help="lowest and highest intensity told apart; for CT -160 240 (soft tissue) if not given,"
        " else each case is normalised",
    )
    parser.add_argument("--image_size", type=int, help="pixels that pictures are resized to")
    parser.add_argument(
        "--largest_part", action="store_true", help="volumes: each label is one connected part"
    )
    parser.add_argument("--weights", type=Path, help="to start from, such as B/models/model.pt")
    parser.add_argument("--weights_labels", nargs="+", help="what they know, if in no bundle")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        patterns, own = _choose(args)
        target = with_task(args.out)
        pattern = write_after_first_fit(target, patterns, own, args.weights, args.weights_labels)
    except (OSError, ValueError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(f"pattern    {pattern.name}")
    if target != args.out:
        print(f"name       {target.name}: the ending tells MONAI Label and the model zoo the task")
    _next_steps(target, args)
    return 0


def _choose(args: argparse.Namespace) -> tuple[list[Path], OwnBundle]:
    """Patterns to try and values from the images, where the command line does not say."""
    seen = survey_images(args.images)
    patterns = _patterns(args, seen.is_volume)
    print(f"images     {seen.count} {'volumes' if seen.is_volume else 'pictures'} in {args.images}")
    chosen = {"image_size": args.image_size, "is_grey": seen.is_grey}
    if seen.is_volume:
        found = choose_for_volumes(seen.spacing, seen.extent, args.spacing, args.slice_axes)
        size = args.slice_size or found.slice_size
        chosen = {"spacing": found.spacing, "slice_axes": found.slice_axes, "slice_size": size}
        window = args.window or (CT_WINDOW if (args.modality or "").lower() == "ct" else None)
        if window:
            chosen["window"] = tuple(window)
            print(f"window     {window[0]:g} to {window[1]:g}")
        sides = " x ".join(f"{side:.3g}" for side in seen.spacing)
        print(f"voxels     {sides} mm, median; field of view up to {max(seen.extent):.0f} mm")
        print(
            f"slices     {chosen['slice_size']} pixels at {chosen['spacing']} mm, axes {chosen['slice_axes']}"
        )
    title = args.title or ", ".join(args.labels).capitalize()
    return patterns, OwnBundle(
        args.labels, title, args.modality, largest_part=args.largest_part, **chosen
    )


def _patterns(args: argparse.Namespace, is_volume: bool) -> list[Path]:
    """The bundle given by --like, or those that fit the images, and the weights perhaps."""
    if args.like is None:
        return patterns_for(BUNDLES, is_volume, args.weights)
    pattern = args.like if args.like.is_dir() else BUNDLES / args.like
    if is_volume_bundle(pattern) != is_volume:
        kind = "volumes" if is_volume else "pictures"
        raise ValueError(
            f"expected --like a bundle of {kind}, as in {args.images}, got {args.like}"
        )
    return [pattern]


def _next_steps(bundle: Path, args: argparse.Namespace) -> None:
    """Commands for what people do next."""
    print(f"bundle     {bundle}, {'with weights' if args.weights else 'without weights yet'}")
    print("\nAnnotate in 3D Slicer, then press Train:")
    print("  python -m monailabel.main start_server --app apps/conceptseg \\")
    print(f"      --studies {images_in(args.images)} --conf bundles {bundle}")
    print("Train on images/ and labels/ that you have:")
    print(f"  python -m monai.bundle run --config_file {bundle}/configs/train.yaml \\")
    print(f"      --bundle_root {bundle} --dataset_dir DATA")
    print("Before you share it, say whose images and whose bundle it is:")
    print(f"  {bundle}/docs/data_license.txt; authors, copyright and data_source in")
    print(f"  {bundle}/configs/metadata.json")


if __name__ == "__main__":
    sys.exit(main())
