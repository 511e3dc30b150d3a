"""A person's correction of a description: it overrides every source and is kept."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence

from ..concepts.described import Value
from ..concepts.descriptors import UNCLEAR
from ..concepts.reading import read_value
from ..concepts.schema import ATTRIBUTES
from .records import CorrectionLine
from .store import ConceptFile

logger = logging.getLogger(__name__)


def correct_concepts(
    path: str | os.PathLike,
    case: str | None,
    keyword: str,
    values: Mapping[str, int | str] | None,
    by: str | None = None,
    lists: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Add a person's values for one label of one case to a concept file.

    Args:
        path: concept file.
        case: as it stands in the file: path of the image below the data set's folder.
        keyword: of the label.
        values: attribute or descriptor -> value; "unclear" withdraws what a model said.
        by: who corrects, as they want to be named; None: not said.
        lists: closed lists of the descriptors (`questions_of`).

    Raises:
        ValueError: nothing to correct, a case that is not in the file, a value outside its list.
    """
    if not case or not values:
        raise ValueError(
            "expected --case PATH --values \"{'color': 'red'}\", got"
            f" case {case!r} and values {values!r}; give both"
        )
    checked = {name: _checked(name, str(value), lists or {}) for name, value in values.items()}
    with ConceptFile(path) as file:
        if (case, keyword) not in file.described.keys() | file.failed.keys():
            known = sorted({c for c, _ in file.described.keys() | file.failed.keys()})[:3]
            raise ValueError(
                f"expected a case of '{path}' with the keyword {keyword!r}, got {case!r}; cases there"
                f" are written like {known}"
            )
        line = {n: Value(value=v, source="person", by=by) for n, v in checked.items()}
        file.append(CorrectionLine(case=case, keyword=keyword, values=line))
    logger.info("%s, %s: corrected %s in '%s'.", case, keyword, checked, path)


def _checked(name: str, value: str, lists: Mapping[str, Sequence[str]]) -> int | str:
    """The value, or ValueError if it is not in its list."""
    if value == UNCLEAR or value in lists.get(name, ()):
        return value
    if name in ATTRIBUTES:
        return read_value(name, value)
    raise ValueError(
        f"expected for {name!r} one of {[*lists.get(name, ()), UNCLEAR]}, got {value!r}; descriptors"
        f" here are {sorted(lists)}"
    )
