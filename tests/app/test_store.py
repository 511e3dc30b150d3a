"""A studies folder stays whole: labels and images checked, lists shared between processes."""

from concurrent.futures import ThreadPoolExecutor

import nibabel as nib
import numpy as np
import pytest
from fastapi import HTTPException
from lib.history import KEPT
from lib.store import EXTENSIONS, StudiesFolder, check_id, check_tag, final_pairs
from PIL import Image

NAMES = [f"case_{i}" for i in range(6)]


@pytest.fixture
def folder(tmp_path):
    """A folder of six volumes of 4 x 5 x 3 voxels."""
    studies = tmp_path / "studies"
    studies.mkdir()
    for name in NAMES:
        nib.save(nib.Nifti1Image(np.ones((4, 5, 3)), np.eye(4)), studies / f"{name}.nii.gz")
    return studies


@pytest.fixture
def label(tmp_path) -> str:
    """A label file that fits."""
    nib.save(nib.Nifti1Image(np.ones((4, 5, 3), np.uint8), np.eye(4)), tmp_path / "l.nii.gz")
    return str(tmp_path / "l.nii.gz")


def open_store(folder) -> StudiesFolder:
    """The folder as one process sees it."""
    return StudiesFolder(str(folder), extensions=EXTENSIONS, auto_reload=False)


def test_labels_saved_by_two_processes_are_both_kept(folder, label):
    one, two = open_store(folder), open_store(folder)
    one.save_label("case_0", label, "final", {"by": "one"})
    two.save_label("case_1", label, "final", {"by": "two"})
    one.update_image_info("case_2", {"seen": True})
    two.update_label_info("case_0", "final", {"score": 1})
    fresh = open_store(folder)
    assert sorted(fresh.get_labeled_images()) == ["case_0", "case_1"]
    assert fresh.get_label_info("case_0", "final").items() >= {"by": "one", "score": 1}.items()
    assert fresh.get_image_info("case_2")["seen"]


def test_a_label_with_flipped_axes_is_refused_and_the_old_one_stays(folder, label, tmp_path):
    store = open_store(folder)
    store.save_label("case_0", label, "final", {"by": "one"})
    flipped = np.diag([-1.0, -1, 1, 1])
    nib.save(nib.Nifti1Image(np.ones((4, 5, 3), np.uint8), flipped), tmp_path / "flipped.nii.gz")
    with pytest.raises(HTTPException, match="position of 'case_0'"):
        store.save_label("case_0", str(tmp_path / "flipped.nii.gz"), "final", {"by": "two"})
    assert open_store(folder).get_label_info("case_0", "final")["by"] == "one"


def test_labels_saved_at_once_are_all_kept(folder, label):
    stores = [open_store(folder) for _ in range(3)]
    with ThreadPoolExecutor(6) as pool:
        jobs = [
            pool.submit(stores[i % 3].save_label, name, label, "final", {"n": i})
            for i, name in enumerate(NAMES)
        ]
    assert [job.result() for job in jobs] == NAMES
    assert sorted(open_store(folder).get_labeled_images()) == NAMES


def test_a_label_of_another_process_is_in_the_next_answer(folder, label):
    one, two = open_store(folder), open_store(folder)  # neither is told of changes
    one.save_label("case_0", label, "final", {})
    assert two.json()["objects"]["case_0"]["labels"]["final"]
    one.save_label("case_1", label, "final", {})
    assert two.status()["completed"] == 2


def test_broken_list_says_what_to_do(folder):
    open_store(folder)
    (folder / "datastore_v2.json").write_text('{"name": ')
    with pytest.raises(ValueError, match="Move it away"):
        open_store(folder)


def test_failed_save_leaves_the_old_label(folder, label, tmp_path):
    store = open_store(folder)
    store.save_label("case_0", label, "final", {})
    before = (folder / "labels/final/case_0.nii.gz").read_bytes()
    wrong = tmp_path / "wrong.nii.gz"
    wrong.write_bytes(b"nothing")
    with pytest.raises(HTTPException, match="readable label map"):
        store.save_label("case_0", str(wrong), "final", {})
    assert (folder / "labels/final/case_0.nii.gz").read_bytes() == before
    assert [p.name for p in (folder / "labels/final").iterdir()] == ["case_0.nii.gz"]


def test_label_in_another_format_takes_the_place_of_the_old_one(folder, label, tmp_path):
    store = open_store(folder)
    store.save_label("case_0", label, "final", {})
    nib.save(nib.load(label), tmp_path / "again.nii")
    store.save_label("case_0", str(tmp_path / "again.nii"), "final", {})
    assert [p.name for p in (folder / "labels/final").iterdir()] == ["case_0.nii"]
    assert store.get_label_uri("case_0", "final").endswith("case_0.nii")


def test_a_linked_image_keeps_what_was_said_of_its_label(folder, label, tmp_path):
    (folder / "case_0.nii.gz").rename(tmp_path / "scan.nii.gz")
    (folder / "case_0.nii.gz").symlink_to(tmp_path / "scan.nii.gz")
    store = open_store(folder)
    info = {"label_info": [{"name": "organ"}], "corrected_concepts": "{}"}
    store.save_label("case_0", label, "final", info)
    (pair,) = final_pairs(store)
    assert pair["label_info"] == info["label_info"] and pair["corrected_concepts"] == "{}"
    assert pair["image"].endswith("scan.nii.gz") and pair["label"].endswith("case_0.nii.gz")


def test_names_in_capitals_are_images_too(folder, label):
    Image.new("RGB", (8, 6)).save(folder / "IMG_1.JPG")
    store = open_store(folder)
    assert "IMG_1" in store.list_images()
    assert store.get_image_uri("IMG_1").endswith("IMG_1.JPG")


def test_uploaded_image_is_added_when_it_can_be_read(folder, tmp_path):
    store = open_store(folder)
    Image.new("RGB", (8, 6)).save(tmp_path / "new.png")
    assert store.add_image("photo", str(tmp_path / "new.png"), {}) == "photo"
    assert "photo" in open_store(folder).list_images()
    (tmp_path / "bad.png").write_bytes(b"nothing")
    (tmp_path / "program.exe").write_bytes(b"nothing")
    for name, words in (("bad.png", "readable image"), ("program.exe", "ends in")):
        with pytest.raises(HTTPException, match=words):
            store.add_image("other", str(tmp_path / name), {})
    with pytest.raises(HTTPException, match="paths are refused"):
        store.add_image("../other", str(tmp_path / "new.png"), {})
    assert "other" not in open_store(folder).list_images()


def test_an_image_uploaded_under_a_taken_name_is_refused(folder, label, tmp_path):
    store = open_store(folder)
    store.save_label("case_0", label, "final", {"by": "one"})
    before = (folder / "case_0.nii.gz").read_bytes()
    nib.save(nib.Nifti1Image(np.full((4, 5, 3), 2.0), np.eye(4)), tmp_path / "voxels.nii.gz")
    moved = np.eye(4)
    moved[0, 3] = 1
    nib.save(nib.Nifti1Image(np.ones((4, 5, 3)), moved), tmp_path / "moved.nii.gz")
    nib.save(nib.Nifti1Image(np.ones((4, 5, 4)), np.eye(4)), tmp_path / "larger.nii")
    for name in ("voxels.nii.gz", "moved.nii.gz", "larger.nii"):
        with pytest.raises(HTTPException, match="another image of the studies has") as error:
            store.add_image("case_0", str(tmp_path / name), {})
        assert error.value.status_code == 400
    assert (folder / "case_0.nii.gz").read_bytes() == before
    assert not (folder / "case_0.nii").exists()
    assert open_store(folder).get_label_info("case_0", "final")["by"] == "one"


def test_the_same_image_uploaded_again_changes_nothing(folder, label, tmp_path):
    store = open_store(folder)
    store.save_label("case_0", label, "final", {"by": "one"})
    before = store.json()["objects"]["case_0"]
    rounded = np.eye(4) + 1e-6 * np.eye(4)[::-1]
    nib.save(nib.Nifti1Image(np.ones((4, 5, 3), np.int16), rounded), tmp_path / "again.nii")
    assert store.add_image("case_0", str(tmp_path / "again.nii"), {}) == "case_0"
    assert open_store(folder).json()["objects"]["case_0"] == before
    assert not (folder / "case_0.nii").exists()


def test_a_file_that_is_not_listed_yet_is_not_replaced(folder, tmp_path):
    store = open_store(folder)
    nib.save(nib.Nifti1Image(np.ones((4, 5, 3)), np.eye(4)), folder / "late.nii.gz")
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 3)), np.eye(4)), tmp_path / "new.nii.gz")
    with pytest.raises(HTTPException, match="another image of the studies has"):
        store.add_image("late", str(tmp_path / "new.nii.gz"), {})
    assert store.add_image("late", str(folder / "late.nii.gz"), {}) == "late"
    assert "late" in store.list_images()


def test_an_image_known_by_its_file_name_is_the_one_of_the_studies(folder, label, tmp_path):
    store = open_store(folder)
    image = nib.load(folder / "case_0.nii.gz")
    nib.save(image, tmp_path / "sent.nii.gz")
    assert store.add_image("case_0.nii.gz", str(tmp_path / "sent.nii.gz"), {}) == "case_0"
    assert store.save_label("case_0.NII.GZ", label, "final", {}) == "case_0"
    assert store.add_image("own.nii.gz", str(tmp_path / "sent.nii.gz"), {}) == "own"
    assert sorted(open_store(folder).list_images()) == [*NAMES, "own"]
    with pytest.raises(HTTPException, match="paths are refused"):
        store.add_image("../case_0.nii.gz", str(tmp_path / "sent.nii.gz"), {})
    with pytest.raises(HTTPException, match="known image"):
        store.save_label("other.nii.gz", label, "final", {})


def test_the_newest_replaced_final_labels_are_kept(folder, tmp_path):
    store, kept = open_store(folder), folder / "labels" / "history" / "case_0"
    for value in (1, 1, *range(2, KEPT + 3)):
        array = np.full((4, 5, 3), value, np.uint8)
        nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / "l.nii.gz")
        store.save_label("case_0", str(tmp_path / "l.nii.gz"), "final", {})
        store.save_label("case_0", str(tmp_path / "l.nii.gz"), "original", {})
    files = sorted(kept.iterdir())
    assert [nib.load(f).get_fdata().max() for f in files] == list(range(2, KEPT + 2))
    assert nib.load(store.get_label_uri("case_0", "final")).get_fdata().max() == KEPT + 2
    store.refresh()
    assert set(store.get_labels_by_image_id("case_0")) == {"final", "original"}


def test_two_labels_saved_within_a_second_are_told_apart(folder, label):
    store = open_store(folder)
    saved = []
    for _ in range(2):
        store.save_label("case_0", label, "final", {})
        saved.append(dict(store.get_label_info("case_0", "final")))
    assert saved[0]["saved_ns"] < saved[1]["saved_ns"]
    assert all(info["ts"] == info["saved_ns"] // 10**9 for info in saved)


def test_archive_without_labels_is_refused(folder, label):
    store = open_store(folder)
    with pytest.raises(HTTPException, match="final label"):
        store.get_dataset_archive(None)
    store.save_label("case_0", label, "final", {})
    assert store.get_dataset_archive(None)


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "..", "a\\b", "~root", "", "a" * 300])
def test_names_that_lead_elsewhere_are_refused(name):
    with pytest.raises(HTTPException, match="paths are refused"):
        check_id("image", name)


@pytest.mark.parametrize("tag", ["../x", "a/b", "..", "a b", ""])
def test_tags_that_lead_elsewhere_are_refused(tag):
    with pytest.raises(HTTPException, match="tag"):
        check_tag(tag)
