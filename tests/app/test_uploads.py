"""What becomes of a label that a client sends after it has uploaded a volume."""

import nibabel as nib
import numpy as np
import pytest
import requests
from fastapi import HTTPException
from lib.store import EXTENSIONS, StudiesFolder
from lib.uploads import Uploads
from monailabel.client import MONAILabelClient
from monailabel.client.client import MONAILabelClientException

ADA = {"client_id": "ada"}
MODEL = "hippocampus_mr_segmentation"


def save(path, array) -> str:
    """A volume on the standard grid."""
    nib.save(nib.Nifti1Image(np.asarray(array, np.uint8), np.eye(4)), path)
    return str(path)


@pytest.fixture
def own(tmp_path) -> str:
    """A volume of the client's, of the size of all others."""
    return save(tmp_path / "own.nii.gz", np.full((4, 5, 3), 7))


@pytest.fixture
def label(tmp_path) -> str:
    """Its label."""
    return save(tmp_path / "label.nii.gz", np.full((4, 5, 3), 1))


@pytest.fixture
def store(tmp_path) -> StudiesFolder:
    """A folder with frame_1, which has a final label, and frame_2."""
    folder = tmp_path / "studies"
    folder.mkdir()
    for name in ("frame_1", "frame_2"):
        save(folder / f"{name}.nii.gz", np.ones((4, 5, 3)))
    store = StudiesFolder(str(folder), extensions=EXTENSIONS, auto_reload=False)
    drawn = save(tmp_path / "drawn.nii.gz", np.arange(60).reshape(4, 5, 3) % 2)
    store.save_label("frame_1", drawn, "final", {"client_id": "ben"})
    return store


def is_refused(store, image: str, label: str, info=ADA) -> bool:
    """True when a label is refused as one of another image."""
    try:
        store.save_label(image, label, "final", dict(info))
    except HTTPException as error:
        assert error.status_code == 400 and "rename it" in error.detail and image in error.detail
        return True
    return False


def test_the_label_of_a_volume_renamed_before_its_upload_leaves_the_other_image_alone(
    store, own, label
):
    before = store.get_label_info("frame_1", "final")
    store.add_image("frame_1b", own, dict(ADA))
    assert is_refused(store, "frame_1", label)
    assert is_refused(store, "frame_1", label)  # Slicer does not upload again
    assert store.get_label_info("frame_1", "final") == before
    assert not is_refused(store, "frame_1b", label)
    store.uploads.opened("frame_1", "ada")
    assert not is_refused(store, "frame_1", label)


def test_the_label_of_a_volume_renamed_after_a_refusal_leaves_the_other_image_alone(
    store, own, label
):
    with pytest.raises(HTTPException, match="new name"):
        store.add_image("frame_1", own, dict(ADA))
    assert is_refused(store, "frame_1", label)
    store.add_image("frame_1b", own, dict(ADA))
    assert is_refused(store, "frame_1", label)
    store.add_image("frame_1b", own, dict(ADA))  # by Upload Volume, after which the name is right
    assert not is_refused(store, "frame_1b", label)
    assert not is_refused(store, "frame_2", label)


def test_the_volume_itself_shows_that_its_name_is_right(store, own, label):
    store.add_image("frame_1b", own, dict(ADA))
    assert is_refused(store, "frame_2", label)
    store.add_image("frame_2", store.get_image_uri("frame_2"), dict(ADA))
    assert not is_refused(store, "frame_2", label)


def test_several_uploads_are_labelled_in_any_order(store, own, label):
    for name in "abc":
        store.add_image(name, own, dict(ADA))
    for name in "bacb":
        assert not is_refused(store, name, label)


def test_only_final_labels_of_the_one_who_uploads_are_in_doubt(store, own, label):
    store.add_image("frame_1b", own, dict(ADA))
    assert not is_refused(store, "frame_1", label, {"client_id": "ben"})
    assert not is_refused(store, "frame_1", label, {})  # the server itself
    store.save_label("frame_1", label, "original", dict(ADA))


def test_an_image_that_anybody_may_have_opened_may_be_labelled():
    uploads = Uploads()
    with uploads.upload("ada", "own"):
        pass
    uploads.opened("frame_1")
    uploads.check_label("ada", "frame_1")
    with uploads.upload("ada", "own"):
        pass
    with pytest.raises(HTTPException):
        uploads.check_label("ada", "frame_1")
    uploads.opened("frame_1")
    uploads.check_label("ada", "frame_1")


def test_clients_of_a_server_open_images_by_next_sample_or_download(
    serve, phantoms, tmp_path_factory, tmp_path
):
    studies = tmp_path_factory.mktemp("upload_studies")
    truth = phantoms(studies, [700, 701])
    server = serve(studies, MODEL)
    client = MONAILabelClient(server.url, str(tmp_path))  # without a name, as scripts are
    image = nib.load(studies / "case_700.nii.gz")
    own, label = tmp_path / "own.nii.gz", tmp_path / "label.nii.gz"
    nib.save(nib.Nifti1Image(image.get_fdata()[::-1].copy(), image.affine), own)
    nib.save(nib.Nifti1Image(truth["case_700"], image.affine), label)

    def rename_and_submit(name: str, known_as: str) -> None:
        client.upload_image(str(own), name)
        with pytest.raises(MONAILabelClientException, match="Upload Volume"):
            client.save_label(known_as, str(label), "final", {})

    rename_and_submit("mine", "case_700")
    requests.get(f"{server.url}/datastore/image?image=case_700").raise_for_status()
    client.save_label("case_700", str(label), "final", {})
    rename_and_submit("mine_too", "case_701")
    client.save_label("mine", str(label), "final", {})
    client.save_label("mine_too", str(label), "final", {})
    assert client.next_sample("first", {})["id"] == "case_701"
    assert client.save_label("case_701.nii.gz", str(label), "final", {})["concepts"]
    assert sorted(client.datastore()["objects"]) == ["case_700", "case_701", "mine", "mine_too"]
