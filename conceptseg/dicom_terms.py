"""DICOM codes of label names."""

from __future__ import annotations

from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

# Category codes of DICOM PS3.16, CID 7150 "Segmentation Property Category".
_TISSUE = Code("123037004", "SCT", "Anatomical Structure")
_ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")
# Names that are no term of their own in SNOMED CT's DICOM subset (PS3.16, annex D).
_ABNORMAL_TYPES = {
    "polyp": Code("68496003", "SCT", "Polyp of colon"),
    "lesion": Code("52988006", "SCT", "Lesion"),
    "wound": Code("52988006", "SCT", "Lesion"),
    "ulcer": Code("52988006", "SCT", "Lesion"),
    "tumor": Code("52988006", "SCT", "Lesion"),
}
_POLYP_PLACES = frozenset(
    ["nasal", "gallbladder", "bladder", "gastric", "uterine", "endometrial", "vocal"]
)


def codes_of(name: str) -> tuple[Code, Code]:
    """DICOM property category and type of a label name.

    The longest ending that is a SNOMED CT term counts: "anterior hippocampus" is coded as
    hippocampus; the segment's label keeps the full name. A polyp is one of the colon unless its name
    says another organ.
    """
    words = name.lower().split()
    if words and words[-1] in _ABNORMAL_TYPES:
        elsewhere = words[-1] == "polyp" and not _POLYP_PLACES.isdisjoint(words)
        return _ABNORMAL, _ABNORMAL_TYPES["lesion" if elsewhere else words[-1]]
    for start in range(len(words)):
        ending = words[start:]
        joined = "".join(ending).capitalize()  # "gall bladder"
        for term in ("".join(word.capitalize() for word in ending), joined):
            try:
                return _TISSUE, getattr(codes.SCT, term)
            except (AttributeError, RuntimeError):  # unknown, or several terms of that name
                continue
    return _TISSUE, _TISSUE
