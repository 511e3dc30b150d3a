"""The shipped weights and the data path on real images, where they are at hand."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import run
from scipy import ndimage

from conceptseg.concepts import MeasuredConcepts
from conceptseg.datalist import load_datalist
from conceptseg.demo import write_demo_studies
from conceptseg.evaluation import evaluate_case
from conceptseg.image_checks import threshold_mask
from conceptseg.image_io import ConceptImageReader

LABELS = ["anterior hippocampus", "posterior hippocampus"]


@pytest.fixture(scope="module")
def bundle(repository):
    folder = repository / "bundles" / "hippocampus_mr_segmentation"
    if not (folder / "models" / "model.pt").exists():
        pytest.skip("the bundle's weights are not in this checkout")
    return folder


def segment(bundle, images, output, **more):
    """Run the bundle's inference; its summary."""
    run(
        config_file=str(bundle / "configs" / "inference.yaml"),
        meta_file=str(bundle / "configs" / "metadata.json"),
        logging_file=False,
        bundle_root=str(bundle),
        dataset_dir=str(images),
        output_dir=str(output),
        **more,
    )
    return json.loads((output / "summary.json").read_text())


@pytest.fixture(scope="module")
def demo(bundle, tmp_path_factory):
    """Both sides of the template, segmented: folder of studies, folder of masks, summary."""
    pytest.importorskip("nilearn", reason="nilearn carries the template")
    studies, masks = tmp_path_factory.mktemp("studies"), tmp_path_factory.mktemp("masks")
    write_demo_studies(studies)
    return studies, masks, segment(bundle, studies, masks)


@pytest.mark.parametrize("side", ["left", "right"])
def test_each_label_of_the_template_is_one_region_of_plausible_size(demo, side):
    studies, masks, rows = demo
    mask = nib.load(masks / f"mni152_{side}_seg.nii.gz")
    study = nib.load(studies / f"mni152_{side}.nii.gz")
    assert mask.shape == study.shape and np.allclose(mask.affine, study.affine)
    values = np.asarray(mask.dataobj)
    total = (values > 0).sum() / 1000  # 1 mm voxels
    assert 1.5 <= total <= 6
    assert [ndimage.label(values == k, np.ones((3, 3, 3)))[1] for k in (1, 2)] == [1, 1]
    centres = [np.mean(np.nonzero(values == k)[1]) for k in (1, 2)]
    assert centres[0] > centres[1]  # anterior lies in front of posterior
    assert all(r["presence"] > 0.5 for r in rows)


def test_real_cases_never_trained_on_are_segmented_well(bundle, shared_data, tmp_path):
    split = json.loads((bundle / "docs" / "split.json").read_text())
    names = [Path(case["image"]).name.removesuffix(".nii.gz") for case in split["testing"]]
    folder = shared_data / "hippocampus"
    scores = []
    for name in names[:4]:
        image = folder / "images" / f"{name}.nii.gz"
        segment(bundle, image, tmp_path / name)
        pred = np.asarray(nib.load(tmp_path / name / f"{name}_seg.nii.gz").dataobj)
        label = np.asarray(nib.load(folder / "labels" / f"{name}.nii.gz").dataobj)
        rows = evaluate_case(pred, label.astype(np.uint8), LABELS, (1, 1, 1))
        scores.append(np.mean([r["dice"] for r in rows]))
    assert np.mean(scores) > 0.84


def test_a_dicom_series_folder_is_segmented(bundle, shared_data, tmp_path):
    series = shared_data / "dicom_mr" / "Study1" / "13_HCropVolume"
    rows = segment(bundle, series, tmp_path)
    assert len(rows) == 2 and all(0.3 < r["volume_ml"] < 5 for r in rows)
    assert nib.load(next(tmp_path.glob("*_seg.nii.gz"))).shape == (35, 51, 32)


def test_jpeg_masks_hold_one_polyp_where_the_file_shows_one(shared_data):
    cases = load_datalist(shared_data / "kvasir", "validation")
    assert len(cases) == 100
    reader = ConceptImageReader(is_label=True)
    numbers = []
    for case in cases[:20]:
        raw, _ = reader.get_data(reader.read(case["label"]))
        mask = threshold_mask(torch.as_tensor(raw)).numpy()[0]
        concepts = MeasuredConcepts()(None, mask > 0, "polyp", ("right", "bottom"))
        numbers.append(concepts.number)
    assert min(numbers) >= 1 and numbers.count(1) >= 15


def test_wound_photographs_without_a_wound_stay_in_the_datalist(shared_data):
    sections = [load_datalist(shared_data / "fuseg", s) for s in ("training", "validation")]
    assert sum(map(len, sections)) == 810
