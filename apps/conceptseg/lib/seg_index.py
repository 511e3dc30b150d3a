"""Which DICOM SEG of a DICOMweb server belongs to which image."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

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
        self._lock = threading.Lock()

    def newest(self) -> dict[str, str]:
        """Series of an image -> series of the newest of its SEGs that are on the server now."""
        with self._lock:
            found = self._client.search_for_series(search_filters={"Modality": "SEG"})
            segs = [self._seg(Dataset.from_json(entry)) for entry in found]
        segs.sort(key=lambda seg: (seg.made, seg.series))
        return {seg.image: seg.series for seg in segs if seg.image}

    def _seg(self, found: Dataset) -> Seg:
        """A SEG of the server's list; its metadata are fetched the first time."""
        series = str(found.SeriesInstanceUID)
        if series not in self._seen:
            (first, *_) = self._client.retrieve_series_metadata(str(found.StudyInstanceUID), series)
            self._seen[series] = _read(series, Dataset.from_json(first))
        return self._seen[series]


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
