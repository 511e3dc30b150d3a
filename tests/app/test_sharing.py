"""The watcher of a studies folder compares all files only where the list is not right about one."""

import time
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from lib.store import EXTENSIONS, StudiesFolder

WAIT_SECONDS = 60


def save(path) -> str:
    """A volume of 4 x 5 x 3 voxels."""
    nib.save(nib.Nifti1Image(np.ones((4, 5, 3), np.uint8), np.eye(4)), path)
    return str(path)


@pytest.fixture
def store(tmp_path):
    """A folder of one volume, which is watched; `compared` counts how often all files are compared."""
    folder = tmp_path / "studies"
    folder.mkdir()
    save(folder / "case_0.nii.gz")
    store = StudiesFolder(str(folder), extensions=EXTENSIONS, auto_reload=True)
    store.compared, refresh = 0, store.refresh

    def counted() -> None:
        store.compared += 1
        refresh()

    store.refresh = counted
    yield store
    store._observer.stop()
    store._observer.join()


def wait_until(ready) -> None:
    """Wait until `ready()` is true."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not ready():
        assert time.monotonic() < deadline, "the watcher noticed nothing"
        time.sleep(0.05)


def test_saving_a_label_compares_no_other_files(store, tmp_path):
    label, seen = save(tmp_path / "label.nii.gz"), []
    notice = store._notice
    store._notice = lambda file: (seen.append(file.name), notice(file))
    store.save_label("case_0", label, "final", {})
    store.add_image("case_1", label, {})
    wait_until(lambda: {"case_0.nii.gz", "case_1.nii.gz"} <= set(seen))
    assert store.compared == 0


def test_files_that_come_and_go_are_noticed(store, tmp_path):
    folder = tmp_path / "studies"
    save(folder / "case_1.nii.gz")
    wait_until(lambda: "case_1" in store.list_images())
    save(folder / "labels" / "final" / "case_1.nii.gz")
    wait_until(lambda: store.get_labeled_images() == ["case_1"])
    (folder / "case_1.nii.gz").rename(folder / "case_2.nii.gz")
    wait_until(lambda: sorted(store.list_images()) == ["case_0", "case_2"])
    (folder / "case_2.nii.gz").unlink()
    wait_until(lambda: store.list_images() == ["case_0"])


def test_a_file_that_is_still_being_written_is_left_alone(store, tmp_path):
    hidden = save(tmp_path / "studies" / ".0a1b.nii.gz")
    store._on_file(SimpleNamespace(src_path=hidden))
    assert store.compared == 0 and store.list_images() == ["case_0"]
