"""Which DICOM SEG of a DICOMweb server belongs to which image."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Any

from dicomweb_client import DICOMwebClient
from pydicom.dataset import Dataset

logger = logging.getLogger(__name__)

# when a SEG was made, by the first of these pairs that it has
_TIMES = (
    ("ContentDate", "ContentTime"),
    ("InstanceCreationDate", "InstanceCreationTime"),
    ("SeriesDate", "SeriesTime"),
)


@dataclass(frozen=True)
class Seg:
    """A DICOM SEG.

    Attributes:
        series: its SeriesInstanceUID.
        image: SeriesInstanceUID of its image, "" where it names none.
        made: date and time, such as "20240131093000"; sorts by age.
    """

    series: str
    image: str
    made: str


class SegIndex:
    """Asks for the metadata of each SEG once, because what it belongs to never changes.

    Args:
        client: of the server.
    """

    def __init__(self, client: DICOMwebClient) -> None:
        self._client = client
        self._seen: dict[str, Seg] = {}
        self._left_out: set[str] = set()
        self._lock = threading.Lock()

    def by_image(self) -> dict[str, list[str]]:
        """Series of an image -> series of its SEGs that are on the server now, the newest first."""
        with self._lock:
            found = [self._seg(series, study) for series, study in self._listed().items()]
            segs = [s for s in found if s and s.image and s.series not in self._left_out]
        segs.sort(key=lambda seg: (seg.made, seg.series), reverse=True)
        result: dict[str, list[str]] = {}
        for seg in segs:
            result.setdefault(seg.image, []).append(seg.series)
        return result

    def leave_out(self, series: str) -> None:
        """From now on no image has this SEG, as it cannot be read."""
        self._left_out.add(series)

    def _listed(self) -> dict[str, str]:
        """Series -> study of all SEGs, also where the server tells of them in parts."""
        result: dict[str, str] = {}
        while True:
            part = self._client.search_for_series(
                search_filters={"Modality": "SEG"}, offset=len(result)
            )
            found = {_uid(entry, "0020000E"): _uid(entry, "0020000D") for entry in part}
            if found.keys() <= result.keys():  # nothing more, or a server that knows no offset
                return result
            result |= found

    def _seg(self, series: str, study: str) -> Seg | None:
        """A SEG by its metadata, which are fetched the first time; None where there are none to use."""
        if series not in self._seen:
            try:
                (first, *_) = self._client.retrieve_series_metadata(study, series)
                self._seen[series] = _read(series, Dataset.from_json(first))
            except Exception:  # others wrote it, and it must not keep away all the rest
                logger.warning("the DICOM SEG %s is left out for now", series, exc_info=True)
                return None
        return self._seen[series]


def _uid(entry: dict[str, Any], tag: str) -> str:
    """A UID in an entry of a search, "" where it has none."""
    return str((entry.get(tag, {}).get("Value") or [""])[0])


def _read(series: str, metadata: Dataset) -> Seg:
    """A SEG from its metadata."""
    references = metadata.get("ReferencedSeriesSequence")
    if not references:
        logger.warning("the DICOM SEG %s names no image and is left out", series)
    image = str(references[0].SeriesInstanceUID) if references else ""
    made = next(
        ("".join(str(metadata.get(n, "")) for n in pair) for pair in _TIMES if pair[0] in metadata),
        "",
    )
    return Seg(series, image, made)
