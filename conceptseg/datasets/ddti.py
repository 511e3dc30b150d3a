"""DDTI: nodules are outlined by polygons, in an XML file per patient."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from .case import LeftOutError, RawCase
from .oddities import Oddity
from .pairs import PairsConverter
from .source_files import SourceFile

_POINTS = re.compile(r'"points"\s*:\s*(\[[^\[\]]*\])')


class DdtiConverter(PairsConverter):
    """N.xml holds marks; a mark names an image N_M.jpg and its outlines as JSON."""

    def find(self, files: Sequence[SourceFile]) -> tuple[list[RawCase], list[Oddity]]:
        """The images that a readable mark outlines."""
        pictures = {
            file.path.stem: file
            for file in files
            if re.search(self.card.parts[0].image, file.name, re.IGNORECASE)
        }
        cases, oddities, marked = {}, [], set()
        for file in files:
            if file.path.suffix.lower() != ".xml":
                continue
            try:
                marks = _marks(file.path)
            except ElementTree.ParseError as error:
                oddities.append(Oddity(file.path.stem, "unreadable", f"'{file.name}': {error}"))
                continue
            for number, text in marks:
                name = f"{file.path.stem}_{number}"
                marked.add(name)
                if name not in pictures:
                    oddities.append(Oddity(name, "unpaired_mask", f"no image of '{file.name}'"))
                elif not _POINTS.search(text):
                    what = f"no outline in '{file.name}'"
                    oddities.append(Oddity(name, "unpaired_image", what))
                else:
                    picture = pictures[name]
                    listed = (picture.name, file.name)
                    cases[name] = RawCase(
                        name, picture.path, (file.path,), None, file.path.stem, listed
                    )
        oddities += [
            Oddity(name, "unpaired_image", f"no mark names '{pictures[name].name}'")
            for name in sorted(pictures.keys() - marked)
        ]
        return [cases[name] for name in sorted(cases)], oddities

    def read_label(
        self, case: RawCase, shape: tuple[int, ...], affine: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | None, list[Oddity]]:
        """Fill the outlines of the image; of truncated annotations, the complete ones."""
        number = case.name.rpartition("_")[2]
        texts = [text for name, text in _marks(case.masks[0]) if name == number]
        outlines, oddities = [], []
        for text in texts:
            outlines += [json.loads(points) for points in _POINTS.findall(text)]
            if not _is_json(text):
                what = "truncated annotation; its complete outlines were taken"
                oddities.append(Oddity(case.name, "repaired", what))
        picture = Image.new("L", shape, 0)  # PIL wants (width, height), which is (W, H) here
        for outline in outlines:
            points = [(float(point["x"]), float(point["y"])) for point in outline]
            if len(points) > 2:
                ImageDraw.Draw(picture).polygon(points, fill=1, outline=1)
        label = np.asarray(picture).T
        if outlines and not label.any():
            text = "its outlines lie outside of the image"
            raise LeftOutError(Oddity(case.name, "size_mismatch", text))
        return label, None, oddities


def _marks(path: Path) -> list[tuple[str, str]]:
    """Image number and annotation text of each mark."""
    root = ElementTree.parse(path).getroot()
    return [
        ((mark.findtext("image") or "").strip(), (mark.findtext("svg") or "").strip())
        for mark in root.iter("mark")
    ]


def _is_json(text: str) -> bool:
    """Whether the text is complete JSON."""
    try:
        json.loads(text)
    except json.JSONDecodeError:
        return False
    return True
