"""`conceptseg predict`: masks, overlays and a table for any number of images, resumable."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from ..atomic import write_text_atomic
from ..image_formats import image_kind
from ..results import write_table
from .dicom_seg import write_dicom_seg
from .inputs import common_folder, find_inputs, stamp
from .ledger import Ledger
from .remarks import package_warnings, unread_slices
from .workflow import Workflow, find_bundle

OK, FAILED, USAGE, PARTLY = 0, 1, 2, 3
EXIT_CODES = (
    "exit codes: 0 every image has its mask; 1 none has; 2 wrong arguments, prompt, bundle or input,"
    " nothing was segmented; 3 some images failed, the others are done"
)


@dataclass
class Outcome:
    """What a run did.

    Attributes:
        done: images segmented now.
        skipped: images that were done before.
        failed: image -> why.
        rows: of the table, for all images that have a mask.
        notes: image -> remarks.
        left_out: masks among the inputs, which lie beside their images.
    """

    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: dict[str, list[str]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """See `EXIT_CODES`."""
        if not self.failed:
            return OK
        return PARTLY if self.done or self.skipped else FAILED


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="IN ... OUT",
        help="files, folders, DICOM series folders or quoted glob patterns; last the folder to write to",
    )
    parser.add_argument("--bundle", required=True, help="bundle folder, or its name in ./bundles")
    parser.add_argument("--prompt", help="concept prompt; without it text-free")
    parser.add_argument("--prompt_strength", type=float, help="0 image alone to 1 prompt alone")
    parser.add_argument("--weights", help="weights file, default BUNDLE/models/model.pt")
    parser.add_argument("--onnx", action="store_true", help="use ONNX Runtime, text-free only")
    parser.add_argument("--device", help="torch device such as cpu or cuda:0, default the best")
    parser.add_argument("--no_dicom_seg", action="store_true", help="no DICOM SEG for DICOM images")
    parser.add_argument("--overwrite", action="store_true", help="replace masks of other settings")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.add_argument(
        "--set", action="append", default=[], metavar="ID=VALUE", help="override a config value"
    )
    parser.epilog = EXIT_CODES


def main(args: argparse.Namespace) -> int:
    """Run the command; see `EXIT_CODES`."""
    warnings.filterwarnings("ignore")
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # `package_warnings` tells what concerns an image
    try:
        if len(args.paths) < 2:
            raise ValueError(
                f"Expected IN and OUT, got only '{args.paths[0]}'. Add the output folder."
            )
        outcome, output = predict(args)
    except Exception as error:  # whatever a config or library raises, the user gets its cause
        print(f"Error: {_sentence(error)}", file=sys.stderr)
        return USAGE
    finally:
        logging.disable(level)
    _report(outcome, output, args)
    return outcome.exit_code


def predict(args: argparse.Namespace) -> tuple[Outcome, Path]:
    """Segment all images; what was done and the folder.

    Raises:
        FileNotFoundError: no bundle, weights or images.
        ValueError: the prompt or an override cannot be followed.
        FileExistsError: a mask is there that this command would not have written, and no --overwrite.
    """
    *patterns, output = args.paths
    output = Path(output).absolute()
    bundle = find_bundle(args.bundle)
    overrides = _overrides(args)
    dims = Workflow(bundle, output, output, overrides).spatial_dims
    images, masks = find_inputs(patterns, dims)
    workflow = Workflow(bundle, output, common_folder(images), overrides)
    workflow.load()
    settings = workflow.settings(overrides=overrides)
    ledger = Ledger(output, settings)
    if not args.overwrite:
        _refuse_overwriting(images, workflow, ledger)
    outcome = Outcome(left_out=[str(mask) for mask in masks])
    for image in tqdm(images, desc="segmenting", unit="image", file=sys.stderr, disable=None):
        _one(image, workflow, ledger, outcome, dicom_seg=not args.no_dicom_seg)
    _write_tables(output, outcome)
    return outcome, output


def _overrides(args: argparse.Namespace) -> dict[str, Any]:
    """Config overrides of the arguments."""
    result: dict[str, Any] = {}
    for text in args.set:
        key, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"Expected --set ID=VALUE, got '{text}'.")
        result[key] = yaml.safe_load(value)
    if args.prompt is not None:
        result["prompt"] = args.prompt
    if args.prompt_strength is not None:
        result["displayable_configs#prompt_strength"] = args.prompt_strength
    if args.weights:
        result["checkpointloader#load_path"] = str(Path(args.weights).absolute())
    if args.onnx:
        result["inferer"] = "@onnx_inferer"
    if args.device:
        result["device"] = f"$torch.device({args.device!r})"
    return result


def _refuse_overwriting(images: list[Path], workflow: Workflow, ledger: Ledger) -> None:
    """Stop before the first image when a mask would be replaced."""
    for image in images:
        mask, mark = workflow.saver.output_path(image), stamp(image)
        is_known = ledger.finished(image, mark) or ledger.may_replace(mask, image, mark)
        if mask.exists() and not is_known:
            raise FileExistsError(
                f"Expected no mask at '{mask}' but one of this image, bundle and prompt, got"
                " another. Choose another folder, or add --overwrite."
            )


def _one(
    image: Path, workflow: Workflow, ledger: Ledger, outcome: Outcome, dicom_seg: bool
) -> None:
    """Segment one image; a failure is noted and the next one's turn comes."""
    name = str(image)
    try:
        mark = stamp(image)
        entry = ledger.finished(image, mark)
        was_done = entry is not None
        if entry is None:
            ledger.begin(image, mark, workflow.saver.output_path(image))
            rows, files, notes = _segment(image, workflow)
            entry = ledger.add(image, mark, [{"image": name, **r} for r in rows], files, notes)
        has_seg = any(file.endswith(".dcm") for file in entry["files"])
        if dicom_seg and not has_seg and image_kind(image) == "dicom":
            files, why = _add_dicom_seg(image, workflow, entry["files"])
            if files != entry["files"]:
                entry = ledger.add(image, mark, entry["rows"], files, entry["notes"])
            entry = {**entry, "notes": entry["notes"] + why}
        (outcome.skipped if was_done else outcome.done).append(name)
    except Exception as error:
        outcome.failed[name] = _sentence(error)
        return
    outcome.rows += entry["rows"]
    if entry["notes"]:
        outcome.notes[name] = entry["notes"]


def _segment(image: Path, workflow: Workflow) -> tuple[list[dict], list[str], list[str]]:
    """Rows, files and remarks of an image, also on how it could be read."""
    with package_warnings() as warned:
        rows, files, notes = workflow.run(image)
    said = [text.removeprefix(f"'{image}': ") for text in warned]
    # the bundle's own table logs the remarks as well, behind the case's name
    notes += [text for text in said if not text.endswith(tuple(notes))]
    return rows, files, notes + unread_slices(image, Path(files[0]))


def _sentence(error: BaseException) -> str:
    """The readable error inside those of MONAI, which only say in which transform it happened."""
    while isinstance(error, RuntimeError) and error.__cause__ is not None:
        error = error.__cause__
    return str(error)


def _add_dicom_seg(
    image: Path, workflow: Workflow, files: list[str]
) -> tuple[list[str], list[str]]:
    """DICOM SEG beside the NIfTI mask: files with it, or a remark why it cannot be written."""
    mask = Path(files[0])
    target = mask.with_name(f"{mask.name.removesuffix('.nii.gz')}.dcm")
    try:
        write_dicom_seg(
            image, mask, target, workflow.keywords, workflow.bundle.name, workflow.version
        )
    except (ModuleNotFoundError, ValueError, AttributeError) as error:
        return files, [f"no DICOM SEG: {error}"]
    return [*files, str(target)], []


def _write_tables(output: Path, outcome: Outcome) -> None:
    """summary.csv and summary.json of all images with remarks; failed ones have a row that says why."""
    notes = {image: {"notes": "; ".join(said)} for image, said in outcome.notes.items()}
    rows = [row | notes.get(row["image"], {}) for row in outcome.rows]
    rows += [{"image": k, "error": why} for k, why in outcome.failed.items()]
    write_table(output / "summary.csv", rows)
    write_text_atomic(output / "summary.json", json.dumps(rows, indent=1) + "\n")


def _report(outcome: Outcome, output: Path, args: argparse.Namespace) -> None:
    """For people on stderr and stdout, or one JSON object on stdout."""
    if args.json:
        content = {"output": str(output), "exit_code": outcome.exit_code, **vars(outcome)}
        print(json.dumps(content, indent=1))
        return
    if outcome.left_out:
        folders = ", ".join(sorted({str(Path(mask).parent) for mask in outcome.left_out}))
        print(
            f"masks left out: {len(outcome.left_out)}, in {folders}; name the folder to segment it",
            file=sys.stderr,
        )
    for name, notes in outcome.notes.items():
        for note in notes:
            print(f"note    {name}: {note}", file=sys.stderr)
    for name, why in outcome.failed.items():
        print(f"failed  {name}: {why}", file=sys.stderr)
    print(
        f"{len(outcome.done)} segmented, {len(outcome.skipped)} done before,"
        f" {len(outcome.failed)} failed; masks, overlays and summary.csv in {output}"
    )
