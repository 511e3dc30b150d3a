"""A DICOMweb server as studies: Orthanc with series written from phantoms, and real ones where present."""

import json
import os
import shutil
import time
from io import BytesIO

import nibabel as nib
import numpy as np
import pydicom
import pytest
import requests
from monailabel.client import MONAILabelClient
from orthanc import Orthanc

from conceptseg.dicom_series import write_mr_series

MODEL = "hippocampus_mr_segmentation"
LABELS = ["anterior hippocampus", "posterior hippocampus"]
SPACING = (1.0, 1.1, 1.3)
MOST_SLICES = 5  # of a real series; the larger one takes a minute whole


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory):
    """Orthanc without images."""
    server = Orthanc(tmp_path_factory.mktemp("orthanc"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def truth(orthanc, volume, tmp_path_factory) -> dict[str, np.ndarray]:
    """SeriesInstanceUID -> label map (X, Y, Z) in RAS order of two series sent to Orthanc."""
    labels = {}
    for seed in (300, 301):
        image, label = volume(seed)
        folder = tmp_path_factory.mktemp("series")
        labels[write_mr_series(folder, image, f"phantom{seed}", SPACING)] = label
        orthanc.add(folder)
    return labels


@pytest.fixture(scope="module")
def server(serve, orthanc, truth, tmp_path_factory):
    """A server on Orthanc."""
    environment = {
        "MONAI_LABEL_DICOMWEB_SEARCH_FILTER": '{"Modality": "MR"}',
        "MONAI_LABEL_DICOMWEB_CACHE_PATH": str(tmp_path_factory.mktemp("dicom_cache")),
        "MONAI_LABEL_DICOMWEB_CACHE_EXPIRY": "1",
    }
    return serve(orthanc.url, MODEL, environment)


@pytest.fixture(scope="module")
def client(server, tmp_path_factory):
    """MONAI Label's client."""
    return MONAILabelClient(server.url, str(tmp_path_factory.mktemp("client")), "tester")


@pytest.fixture(scope="module")
def series(truth) -> list[str]:
    """The two series, sorted."""
    return sorted(truth)


def ras(path) -> np.ndarray:
    """Voxels (X, Y, Z) of a NIfTI file in RAS order."""
    return np.asarray(nib.as_closest_canonical(nib.load(path)).dataobj)


def dicom_seg(server, series: str, params: dict) -> requests.Response:
    """Inference answered as DICOM SEG."""
    info = [{"name": name, "idx": i, "model_name": MODEL} for i, name in enumerate(LABELS, 1)]
    return requests.post(
        f"{server.url}/infer/{MODEL}",
        params={"image": series, "output": "dicom_seg"},
        data={"params": json.dumps({"label_info": info, **params})},
    )


def segments(content: bytes) -> dict[str, tuple]:
    """Segment label -> its colour (CIELab) and the meaning of its code."""
    dataset = pydicom.dcmread(BytesIO(content))
    return {
        s.SegmentLabel: (
            tuple(s.RecommendedDisplayCIELabValue),
            s.SegmentedPropertyTypeCodeSequence[0].CodeMeaning,
        )
        for s in dataset.SegmentSequence
    }


def test_text_free_mask_fits_the_series(client, series, truth):
    path, answer = client.infer(MODEL, series[0], {})
    mask = ras(path)
    image = nib.as_closest_canonical(nib.load(path))
    assert mask.shape == truth[series[0]].shape
    np.testing.assert_allclose(image.header.get_zooms(), SPACING, rtol=1e-4)
    posterior = truth[series[0]] == 2
    assert (posterior & (mask == 2)).sum() > 0.7 * (mask == 2).sum() > 0
    volume = (mask == 2).sum() * np.prod(SPACING) / 1000
    assert answer["labels"][LABELS[1]]["volume_ml"] == pytest.approx(volume, rel=1e-3)


def test_second_prompt_on_a_series_only_decodes(client, series):
    client.infer(MODEL, series[1], {})
    path, answer = client.infer(MODEL, series[1], {"concept": "hippocampus on the left side"})
    assert answer["encoder_cached"]
    found = ras(path) > 0
    assert found[:16].any() and not found[16:].any()  # RAS: the patient's left comes first


def test_dicom_seg_names_and_colours_stay_for_any_subset(server, series):
    both = segments(dicom_seg(server, series[0], {}).content)
    assert sorted(both) == LABELS
    assert both[LABELS[0]][0] != both[LABELS[1]][0]
    assert both[LABELS[1]][1] == "Hippocampus"
    for name in LABELS:
        one = segments(dicom_seg(server, series[0], {"concept": name}).content)
        assert one == {name: both[name]}


def test_empty_mask_is_refused_as_dicom_seg(server, series):
    answer = dicom_seg(server, series[0], {"concept": "no hippocampus"})
    assert answer.status_code == 400 and "empty mask" in answer.json()["detail"]


def test_unknown_series_is_answered_with_404(server, series):
    for name in ("1.2.3.4", "none", series[0][:-1]):
        answer = requests.post(f"{server.url}/infer/{MODEL}?image={name}", data={"params": "{}"})
        assert answer.status_code == 404 and name in answer.json()["detail"]


def test_series_that_comes_later_can_be_segmented(client, orthanc, volume, tmp_path):
    late = write_mr_series(tmp_path, volume(302)[0], "phantom302", SPACING)
    orthanc.add(tmp_path)
    path, _ = client.infer(MODEL, late, {})
    assert (ras(path) > 0).any()
    found = next(s["ID"] for s in orthanc.series("MR") if s["SeriesInstanceUID"] == late)
    requests.delete(f"{orthanc.address}/series/{found}").raise_for_status()


def save(client, series: str, label: np.ndarray, folder, extension: str) -> None:
    """Save a final label (X, Y, Z) in RAS order as Slicer does."""
    from monailabel.transform.writer import write_itk

    image = nib.load(client_image(client, series, folder))
    canonical = nib.as_closest_canonical(image)
    path = str(folder / f"label{extension}")
    write_itk(label, path, canonical.affine, np.uint8, True)
    info = [{"name": name, "idx": i} for i, name in enumerate(LABELS, 1)]
    client.save_label(series, path, "final", {"label_info": info})


def client_image(client, series: str, folder) -> str:
    """The series as NIfTI, downloaded as Slicer does."""
    answer = requests.get(f"{client.get_server_url()}/datastore/image", params={"image": series})
    answer.raise_for_status()
    path = folder / "image.nii.gz"
    path.write_bytes(answer.content)
    return str(path)


def test_final_label_goes_to_the_server_and_comes_back(client, orthanc, series, truth, tmp_path):
    label = np.where(truth[series[0]] == 2, 2, 0).astype(np.uint8)
    save(client, series[0], label, tmp_path, ".nii.gz")
    (saved,) = orthanc.series("SEG")
    content = orthanc.file(saved["Instances"][0])
    assert list(segments(content)) == [LABELS[1]]
    referenced = pydicom.dcmread(BytesIO(content)).ReferencedSeriesSequence[0].SeriesInstanceUID
    assert referenced == series[0]
    np.testing.assert_array_equal(ras(client.download_label(series[0], "final")), label)


def test_labelled_series_is_counted_and_not_offered_again(client, series):
    assert client.info()["datastore"]["completed"] == 1
    for strategy in ("random", "first", "uncertainty"):
        assert client.next_sample(strategy, {})["id"] == series[1]


def test_one_label_is_too_few_to_train_on(server):
    answer = requests.post(f"{server.url}/train/{MODEL}", json={})
    assert answer.status_code == 400 and "at least 2" in answer.json()["detail"]


def test_labels_are_fetched_from_the_server_after_the_cache_is_lost(
    server, client, orthanc, series, truth, tmp_path, tmp_path_factory
):
    save(client, series[1], np.minimum(truth[series[1]], 1), tmp_path, ".nrrd")
    time.sleep(1.1)  # what is newer is told by the second
    save(client, series[1], truth[series[1]], tmp_path, ".nrrd")
    assert len(orthanc.series("SEG")) == 3
    server.stop()
    cache = tmp_path_factory.mktemp("other_cache")
    server.environment["MONAI_LABEL_DICOMWEB_CACHE_PATH"] = str(cache)
    server.start()
    path = client.download_label(series[1], "final")
    back = os.path.join(tmp_path, os.path.basename(path) + ".nii.gz")
    from conceptseg.image_io import ConceptImageReader

    reader = ConceptImageReader(is_label=True)
    array, meta = reader.get_data(reader.read(path))
    nib.save(nib.Nifti1Image(array[0], meta["affine"]), back)
    found, wanted = ras(back), truth[series[1]]
    for value in (1, 2):
        assert (found == value).sum() == (wanted == value).sum()
    answer = requests.post(f"{server.url}/train/{MODEL}", json={"max_epochs": 0})
    assert answer.status_code == 400 and "max_epochs" in answer.json()["detail"]


@pytest.mark.parametrize("name", ["Study1/13_HCropVolume", "Study3/11-T1post-18670"])
def test_real_series_is_segmented_on_its_own_grid(
    server, client, orthanc, shared_data, name, tmp_path
):
    folder = shared_data / "dicom_mr" / name
    paths = sorted(folder.glob("*.dcm"), key=lambda p: pydicom.dcmread(p).ImagePositionPatient[2])
    paths = paths[:MOST_SLICES]
    slices = [pydicom.dcmread(path) for path in paths]
    for path in paths:
        shutil.copy(path, tmp_path)
    orthanc.add(tmp_path)
    path, answer = client.infer(MODEL, str(slices[0].SeriesInstanceUID), {})
    assert nib.load(path).shape == (slices[0].Columns, slices[0].Rows, len(slices))
    assert set(answer["labels"]) == set(LABELS)
    if any(entry["present"] for entry in answer["labels"].values()):
        made = dicom_seg(server, str(slices[0].SeriesInstanceUID), {})
        assert pydicom.dcmread(BytesIO(made.content)).PatientID == slices[0].PatientID
