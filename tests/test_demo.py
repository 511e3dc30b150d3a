"""The demonstration studies."""

import nibabel as nib
import numpy as np
import pytest

from conceptseg.demo import write_demo_studies


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    pytest.importorskip("nilearn", reason="nilearn carries the template")
    return [nib.load(p) for p in write_demo_studies(tmp_path_factory.mktemp("studies"))]


def test_studies_are_real_regions_of_both_sides(studies):
    left, right = studies
    assert left.shape == right.shape
    for study, sign in ((left, -1), (right, 1)):
        centre = nib.affines.apply_affine(study.affine, np.array(study.shape) / 2)
        assert nib.aff2axcodes(study.affine) == ("R", "A", "S")
        assert np.sign(centre[0]) == sign and abs(abs(centre[0]) - 30) < 2
        assert np.asarray(study.dataobj).std() > 0


def test_left_study_mirrors_the_right_one(studies):
    left, right = (np.asarray(s.dataobj, dtype=float) for s in studies)
    correlation = np.corrcoef(left[::-1].ravel(), right.ravel())[0, 1]
    assert correlation > 0.8
    assert correlation > np.corrcoef(left.ravel(), right.ravel())[0, 1]


def test_existing_studies_are_kept(studies, tmp_path):
    for side in ("left", "right"):
        (tmp_path / f"mni152_{side}.nii.gz").write_bytes(b"mine")
    write_demo_studies(tmp_path)
    assert (tmp_path / "mni152_left.nii.gz").read_bytes() == b"mine"
