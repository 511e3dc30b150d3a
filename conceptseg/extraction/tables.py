"""Import of existing concept tables, such as the official code's CSV for Kvasir-SEG."""

from __future__ import annotations

import csv
import json
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from ..concepts.described import Description, Value
from ..concepts.reading import read_value
from ..concepts.schema import ATTRIBUTES
from ..datalist import find_images
from ..image_checks import threshold_mask
from ..image_io import ConceptImageReader
from .records import ConceptLine
from .store import ConceptFile

logger = logging.getLogger(__name__)
IMAGE_COLUMNS = ("image", "roi_name", "image_name", "filename", "name")
JSON_COLUMN = "text"  # of the official table: the answer as given; its other columns hold codes


@dataclass
class ImportSummary:
    """What became of a table.

    Attributes:
        rows: rows with an image; each gave a description, if only of some attributes.
        malformed: (line number in the file, column or "", what is wrong).
    """

    rows: int = 0
    malformed: list[tuple[int, str, str]] = field(default_factory=list)

    def text(self, limit: int = 20) -> str:
        """Counts, and the first malformed cells by line."""
        counts = Counter(column or "row" for _, column, _ in self.malformed)
        said = ", ".join(f"{n} {c}" for c, n in counts.most_common()) or "none"
        lines = [f"  line {n}, {c or 'row'}: {why}" for n, c, why in self.malformed[:limit]]
        if len(self.malformed) > limit:
            lines.append(f"  ... and {len(self.malformed) - limit} more")
        return "\n".join([f"{self.rows} rows imported; malformed cells: {said}", *lines])


def import_table(
    table: str | os.PathLike,
    output_file: str | os.PathLike,
    keyword: str,
    dataset_dir: str | os.PathLike | None = None,
    model: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> ImportSummary:
    """Turn a CSV table into a concept file.

    Reads the official code's table as it is (`roi_name`, and the answers as JSON in `text`), and tables
    with one column per attribute.

    Words are read as prompts are ("circle" is round, "lower right corner" a place). A cell that says
    nothing of its attribute is reported and left out; the rest of its row is kept.

    Args:
        table: CSV with a header; a column for the image and one for each attribute it has.
        output_file: JSONL to write to; must not exist.
        keyword: of the label the table describes.
        dataset_dir: the data set, in which an image is found by its path or, where one file alone
            bears it, by its name; images that are not there are reported.
        model: who filled the table, such as "LLaVA-1.5-13B".
        columns: attribute or "image" -> name of its column, where they differ.

    Raises:
        FileNotFoundError: no table.
        FileExistsError: an output file.
        ValueError: no column for images, or none for any attribute.
    """
    if Path(output_file).exists():
        raise FileExistsError(
            f"expected a new file to import to, got '{output_file}', which exists; choose another"
        )
    if not Path(table).is_file():
        raise FileNotFoundError(f"expected a CSV table, got '{table}', which does not exist")
    summary = ImportSummary()
    with open(table, newline="", encoding="utf-8-sig") as file, ConceptFile(output_file) as output:
        reader = csv.DictReader(file)
        names = _columns(reader.fieldnames or [], columns or {}, table)
        find = _CaseFinder(dataset_dir)
        for row in reader:
            try:
                case = find(row, names["image"])
                cells = _cells(row, names)
            except ValueError as error:
                summary.malformed.append((reader.line_num, "", str(error)))
                continue
            values = _values(cells, model, reader.line_num, summary)
            output.append(
                ConceptLine(
                    case=case,
                    keyword=keyword,
                    description=Description(keyword=keyword, values=values),
                    fraction=_mask_fraction(dataset_dir, case),
                    settings=f"table {Path(table).name}",
                )
            )
            summary.rows += 1
    logger.info("'%s': %s", table, summary.text())
    return summary


def _columns(header: Sequence[str], given: Mapping[str, str], table) -> dict[str, str]:
    """Attribute (or "image", or `JSON_COLUMN` for all attributes) -> column."""
    image = [given["image"]] if "image" in given else IMAGE_COLUMNS
    names = {"image": next((c for c in image if c in header), "")}
    if JSON_COLUMN in header:
        names[JSON_COLUMN] = JSON_COLUMN
    else:
        names |= {n: given.get(n, n) for n in ATTRIBUTES if given.get(n, n) in header}
    if not names["image"] or len(names) == 1:
        raise ValueError(
            f"expected a column {image} and one for some of {list(ATTRIBUTES)} in '{table}', got"
            f" {list(header)}; name them with columns"
        )
    return names


class _CaseFinder:
    """Gives the case of each row; ValueError says what is wrong with one."""

    def __init__(self, dataset_dir: str | os.PathLike | None) -> None:
        self.root = None if dataset_dir is None else Path(dataset_dir)
        self.seen: set[str] = set()
        self.by_name: dict[str, list[str]] | None = None

    def __call__(self, row: dict, column: str) -> str:
        """Case named in `column`: a path below the data set's folder."""
        if None in row or None in row.values():
            raise ValueError("another number of cells than the header has")
        case = row[column].strip().replace("\\", "/")
        if not case:
            raise ValueError("no image is named")
        if self.root is not None and not (self.root / case).is_file():
            case = self._named(case)
        if case in self.seen:
            raise ValueError(f"{case} again; the first row is kept")
        self.seen.add(case)
        return case

    def _named(self, name: str) -> str:
        """The one image of this name; masks are not looked at."""
        if self.by_name is None:
            self.by_name = {}
            for path in map(Path, find_images(self.root)):
                if not path.parent.name.lower().startswith(("mask", "label")):
                    case = path.relative_to(self.root).as_posix()
                    self.by_name.setdefault(path.name, []).append(case)
        found = self.by_name.get(name, [])
        if len(found) != 1:
            raise ValueError(f"{len(found)} images '{name}' in the data set")
        return found[0]


def _cells(row: dict, names: Mapping[str, str]) -> dict[str, str]:
    """Attribute -> its text in a row; ValueError for an answer that is no JSON object."""
    if JSON_COLUMN not in names:
        return {n: row[c].strip() for n, c in names.items() if n != "image" and row[c].strip()}
    try:
        answer = json.loads(row[JSON_COLUMN])
    except json.JSONDecodeError as error:
        raise ValueError(f"an answer that is no JSON: {row[JSON_COLUMN][:80]!r}") from error
    if not isinstance(answer, dict):
        raise ValueError(f"an answer that is no JSON object: {row[JSON_COLUMN][:80]!r}")
    known = {k: v for k, v in answer.items() if k in ATTRIBUTES and v is not None}
    return {k: v if isinstance(v, str) else json.dumps(v) for k, v in known.items()}


def _values(
    cells: Mapping[str, str], model: str | None, line: int, summary: ImportSummary
) -> dict[str, Value]:
    """The values of a row; what cannot be read goes to the summary."""
    values = {}
    for name, text in cells.items():
        try:
            value = read_value(name, text)
        except ValueError as error:
            summary.malformed.append((line, name, str(error)))
            continue
        values[name] = Value(value=value, source="table", model=model, raw={"table": text})
    return values


def _mask_fraction(dataset_dir: str | os.PathLike | None, case: str) -> float | None:
    """Share of the image that its mask covers, for a mask in the folder beside; None without."""
    if dataset_dir is None:
        return None
    image = Path(dataset_dir) / case
    for folder in ("masks", "labels"):
        masks = sorted((image.parent.parent / folder).glob(f"{image.stem}.*"))
        if masks:
            raw, _ = ConceptImageReader(is_label=True).get_data([masks[0]])
            return float(np.mean(threshold_mask(torch.as_tensor(raw)).numpy() > 0))
    return None
