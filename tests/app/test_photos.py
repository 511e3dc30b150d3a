"""Photographs are as good as volumes: PNG, JPEG and single-frame DICOM in a folder; two bundles at once."""

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monailabel.client import MONAILabelClient
from PIL import Image
from pydicom import dcmwrite
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid
from scipy import ndimage

MODEL = "polyp_endoscopy_segmentation"
EXPORTED = "my_hippocampus_segmentation"


@pytest.fixture(scope="module")
def truth() -> dict[str, np.ndarray]:
    """Name -> boolean mask (rows, columns), filled when the studies are written."""
    return {}


def write_dicom_photo(path: Path, image: np.ndarray) -> None:
    """RGB image (rows, columns, 3) as a secondary capture of one frame."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.is_little_endian, dataset.is_implicit_VR = True, False
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.Modality, dataset.PatientName, dataset.PatientID = "ES", "photo", "photo"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"
    dataset.PlanarConfiguration, dataset.PixelRepresentation = 0, 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.Rows, dataset.Columns = image.shape[:2]
    dataset.PixelData = np.ascontiguousarray(image).tobytes()
    dcmwrite(path, dataset, write_like_original=False)


def export(bundle: Path, target: Path, package: Path) -> Path:
    """The bundle as `conceptseg.export` leaves it: the package in scripts/, its name in the configs."""
    shutil.copytree(bundle, target)
    shutil.copytree(package, target / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    for path in (target / "configs").iterdir():
        path.write_text(path.read_text().replace("conceptseg.", "scripts."))
    return target


@pytest.fixture(scope="module")
def client(serve, truth, photos, tmp_path_factory, bundles, repository):
    """Client of a server on four photographs of 80 x 64 pixels, with an exported bundle beside."""
    studies = tmp_path_factory.mktemp("photo_studies")
    for seed, suffix in ((50, ".png"), (51, ".jpeg"), (52, ".jpg"), (53, ".dcm")):
        image, mask = photos(seed)
        if suffix == ".dcm":
            write_dicom_photo(studies / f"photo_{seed}.dcm", image)
        else:
            Image.fromarray(image).save(studies / f"photo_{seed}{suffix}", quality=95)
        truth[f"photo_{seed}"] = mask > 0
    exported = export(
        bundles / "hippocampus_mr_segmentation",
        tmp_path_factory.mktemp("exported") / EXPORTED,
        repository / "conceptseg",
    )
    server = serve(studies, f"{MODEL},{exported}")
    return MONAILabelClient(server.url, str(tmp_path_factory.mktemp("client")), "tester")


def infer(client, image, params, model=MODEL) -> tuple[np.ndarray, dict]:
    """Mask (rows, columns) and the answer."""
    path, answer = client.infer(model, image, params)
    if path.endswith(".nii.gz"):  # DICOM images have a place in space, which PNG cannot hold
        return np.squeeze(np.asarray(nib.load(path).dataobj)).T, answer
    return np.asarray(Image.open(path)), answer


@pytest.mark.parametrize("name", ["photo_50", "photo_51", "photo_52", "photo_53"])
def test_text_free_mask_has_the_size_of_the_photograph(client, truth, name):
    mask, answer = infer(client, name, {})
    assert mask.shape == (64, 80) and set(np.unique(mask)) <= {0, 1}
    found = mask > 0
    assert 2 * (found & truth[name]).sum() / (found.sum() + truth[name].sum()) > 0.6
    assert answer["labels"]["polyp"]["volume_ml"] is None
    assert answer["labels"]["polyp"]["voxels"] == found.sum()


def test_the_largest_polyp_is_the_largest_part_of_the_text_free_mask(client):
    for name in ("photo_50", "photo_51", "photo_52", "photo_53"):
        plain, _ = infer(client, name, {})
        kept, answer = infer(client, name, {"concept": "the largest polyp"})
        assert answer["prompt"]["sentences"] == ["polyp (the largest)"]
        parts, count = ndimage.label(plain)
        assert 0 < ndimage.label(kept)[1] <= count
        sizes = np.bincount(parts.ravel())[1:]
        # resampled to the image's size, a part may touch another at a corner
        assert abs(int(kept.sum()) - sizes.max()) <= 2 and not (kept & ~plain & 1).any()


def test_click_and_box_work_in_columns_and_rows(client, truth):
    rows, columns = (int(x.mean()) for x in np.nonzero(truth["photo_51"]))
    mask, _ = infer(client, "photo_51", {"polyp": [[columns, rows, 0]]}, f"{MODEL}_interactive")
    assert mask[rows, columns] == 1 and not mask[:, :30].any()
    box = [0, 30, 0, 63]
    mask, answer = infer(client, "photo_51", {"roi": box}, f"{MODEL}_interactive")
    assert not mask[:, 31:].any()
    assert "photo_51" not in answer["notes"]


def test_saved_mask_comes_back(client, truth, tmp_path):
    path = tmp_path / "mask.png"
    Image.fromarray(truth["photo_50"].astype(np.uint8)).save(path)
    client.save_label("photo_50", str(path), "final", {"label_info": [{"name": "polyp", "idx": 1}]})
    back = np.asarray(Image.open(client.download_label("photo_50", "final")))
    np.testing.assert_array_equal(back > 0, truth["photo_50"])
    assert client.next_sample("uncertainty", {})["id"] != "photo_50"


def test_slicer_gets_a_volume_of_one_slice(client, truth):
    from conceptseg.image_io import ConceptImageReader

    path, _ = client.infer(MODEL, "photo_52", {"result_extension": ".nrrd"})
    reader = ConceptImageReader(is_label=True)
    array = np.squeeze(reader.get_data(reader.read(path))[0])
    plain, _ = infer(client, "photo_52", {})
    np.testing.assert_array_equal(array.T, plain)


def test_exported_bundle_is_served_beside_and_labels_are_joined(client, volume, tmp_path):
    info = client.info()
    assert {MODEL, EXPORTED, f"{EXPORTED}_interactive"} <= set(info["models"])
    assert info["labels"] == ["polyp", "anterior hippocampus", "posterior hippocampus"]
    assert info["models"][EXPORTED]["labels"] == {
        "anterior hippocampus": 1,
        "posterior hippocampus": 2,
    }
    image, label = volume(700)
    nib.save(nib.Nifti1Image(image, np.eye(4)), tmp_path / "volume.nii.gz")
    session = client.create_session(str(tmp_path / "volume.nii.gz"))["session_id"]
    path, _ = client.infer(EXPORTED, "", {"concept": "posterior hippocampus"}, session_id=session)
    found = np.asarray(nib.load(path).dataobj)
    assert set(np.unique(found)) == {0, 2}
    assert ((found == 2) & (label == 2)).sum() > 0.7 * (found == 2).sum()


def test_photograph_does_not_fit_a_bundle_for_volumes(client):
    from monailabel.client.client import MONAILabelClientException

    with pytest.raises(MONAILabelClientException, match="Status: 400"):
        client.infer(EXPORTED, "photo_50", {})
