"""DICOM codes of label names, against SNOMED CT as DICOM PS3.16 lists it."""

import pytest

from conceptseg.dicom_terms import codes_of

ANATOMY, ABNORMAL = "123037004", "49755003"  # PS3.16, CID 7150


@pytest.mark.parametrize(
    ("name", "category", "kind", "meaning"),
    [
        ("anterior hippocampus", ANATOMY, "5366008", "Hippocampus"),
        ("Left Kidney", ANATOMY, "64033007", "Kidney"),
        ("spleen", ANATOMY, "78961009", "Spleen"),
        ("left ventricle", ANATOMY, "87878005", "Left Ventricle"),  # before the ending "ventricle"
        ("kidney tumor", ABNORMAL, "52988006", "Lesion"),  # the tumor, not the kidney
        ("small polyp", ABNORMAL, "68496003", "Polyp of colon"),
        ("nasal polyp", ABNORMAL, "52988006", "Lesion"),
        ("gall bladder", ANATOMY, "28231008", "Gallbladder"),
        ("wound", ABNORMAL, "52988006", "Lesion"),
    ],
)
def test_the_longest_known_ending_is_coded(name, category, kind, meaning):
    found = codes_of(name)
    assert [(code.value, code.scheme_designator) for code in found] == [
        (category, "SCT"),
        (kind, "SCT"),
    ]
    assert found[1].meaning == meaning


@pytest.mark.parametrize("name", ["thing without a name", "", "  ", "42"])
def test_an_unknown_name_is_an_anatomical_structure(name):
    assert [code.value for code in codes_of(name)] == [ANATOMY, ANATOMY]
