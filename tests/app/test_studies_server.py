"""A DICOMweb server as studies, with a client that answers from folders: what is fetched, when and how often."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from fastapi import HTTPException
from lib.dicomweb import StudiesServer
from lib.seg_index import SegIndex
from monailabel.datastore.dicom import DICOMWebDatastore
from pydicom import dcmread
from pydicom.dataset import Dataset

from conceptseg.dicom_series import write_mr_series

WAIT_SECONDS = 20
SHAPE = (6, 5, 4)


class Client:
    """A DICOMweb client of two MR series, and of SEGs that are metadata alone."""

    base_url = "http://studies"

    def __init__(self, folder: Path) -> None:
        self.folders: dict[str, Path] = {}
        for name in "ab":
            (folder / name).mkdir()
            image = np.random.default_rng(0).random(SHAPE).astype(np.float32)
            self.folders[write_mr_series(folder / name, image, name, (1, 1, 1))] = folder / name
        self.segs: dict[str, tuple[str, str]] = {}  # series -> image, time
        self.page = 100  # entries that one search gives at most
        self.asked: list[str] = []
        self.before = lambda series: None

    def search_for_series(self, search_filters: dict, offset: int = 0) -> list[dict]:
        if search_filters.get("Modality") == "SEG":
            return [_found(series) for series in self.segs][offset : offset + self.page]
        wanted = search_filters.get("SeriesInstanceUID")
        return [_found(series) for series in self.folders if wanted in (None, series)]

    def retrieve_series_metadata(self, study: str, series: str) -> list[dict]:
        self.asked.append(series)
        image, time = self.segs[series]
        dataset = Dataset()
        dataset.ContentDate, dataset.ContentTime = "20240131", time
        reference = Dataset()
        reference.SeriesInstanceUID = image
        dataset.ReferencedSeriesSequence = [reference] if image else []
        return [dataset.to_json_dict()]

    def retrieve_series(self, study: str, series: str):
        for path in sorted(self.folders[series].glob("*.dcm")):
            self.before(series)
            yield dcmread(path)


def _found(series: str) -> dict:
    """An entry of a search."""
    dataset = Dataset()
    dataset.SeriesInstanceUID, dataset.StudyInstanceUID = series, "1.2.3"
    return dataset.to_json_dict()


@pytest.fixture
def client(tmp_path) -> Client:
    return Client(tmp_path)


@pytest.fixture
def open_store(client, tmp_path):
    """Open the cache folder, as each process does; nothing watches it."""

    def opened() -> StudiesServer:
        store = DICOMWebDatastore(client, {}, str(tmp_path / "cache"))
        store._observer.stop()
        return StudiesServer.of(store)

    return opened


def test_the_metadata_of_each_seg_are_fetched_once(client):
    index = SegIndex(client)
    client.segs = {"1": ("a", "090000"), "2": ("b", "090000")}
    for _ in range(3):
        assert index.by_image() == {"a": ["1"], "b": ["2"]}
    client.segs["3"] = ("", "100000")
    assert index.by_image() == {"a": ["1"], "b": ["2"]}
    assert client.asked == ["1", "2", "3"]
    del client.segs["1"]
    assert index.by_image() == {"b": ["2"]}


@pytest.mark.parametrize("order", [("1", "2", "3"), ("3", "2", "1")])
def test_the_segs_of_an_image_are_sorted_by_age_however_they_are_listed(client, order):
    times = {"1": "090000", "2": "143000.5", "3": "101500"}
    client.segs = {series: ("a", times[series]) for series in order}
    assert SegIndex(client).by_image() == {"a": ["2", "3", "1"]}


@pytest.mark.parametrize("page", [2, 100])
def test_all_segs_are_found_on_a_server_that_lists_some_at_a_time(client, page):
    client.page = page
    client.segs = {str(n): (f"image {n}", "090000") for n in range(5)}
    assert len(SegIndex(client).by_image()) == 5


def test_a_server_that_always_lists_the_same_is_asked_twice(client, monkeypatch):
    asked = []
    monkeypatch.setattr(
        client, "search_for_series", lambda **options: asked.append(options) or [_found("1")]
    )
    client.segs = {"1": ("a", "090000")}
    assert SegIndex(client).by_image() == {"a": ["1"]} and len(asked) == 2


def test_a_seg_without_usable_metadata_hides_no_other(client, monkeypatch):
    client.segs = dict.fromkeys("123", ("a", "090000"))
    fetch, broken = client.retrieve_series_metadata, {"1": [], "3": [{"0020000E": "?"}]}
    monkeypatch.setattr(
        client,
        "retrieve_series_metadata",
        lambda study, series: broken[series] if series in broken else fetch(study, series),
    )
    index = SegIndex(client)
    assert index.by_image() == {"a": ["2"]}
    broken.clear()  # the server is well again
    assert index.by_image() == {"a": ["3", "2", "1"]}


def test_an_image_with_two_segs_is_counted_once(client, open_store):
    first, second = sorted(client.folders)
    client.segs = {"1": (first, "09"), "2": (first, "10"), "3": ("elsewhere", "10")}
    store = open_store()
    assert store.get_labeled_images() == [first] and store.get_unlabeled_images() == [second]
    assert store.status()["completed"] == 1


def test_two_series_are_downloaded_at_the_same_time(client, open_store):
    store, meeting = open_store(), threading.Barrier(2, timeout=WAIT_SECONDS)
    client.before = lambda series: meeting.wait()  # breaks unless both are being downloaded
    with ThreadPoolExecutor(2) as pool:
        paths = list(pool.map(store.get_image_uri, client.folders))
    assert [nib.load(path).shape for path in paths] == [SHAPE, SHAPE]


def test_one_series_is_downloaded_once_for_two_requests(client, open_store):
    store, fetched = open_store(), []
    client.before = fetched.append
    series = next(iter(client.folders))
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(store.get_image_uri, [series] * 4))
    assert len(paths) == 1 and fetched == [series] * SHAPE[2]


def test_a_download_that_breaks_off_leaves_no_truncated_volume(client, open_store):
    store, slices = open_store(), []

    def before(series: str) -> None:
        slices.append(series)
        if len(slices) == 3:
            raise ConnectionError("the server was killed")

    client.before = before
    series = next(iter(client.folders))
    with pytest.raises(ConnectionError):
        store.get_image_uri(series)
    assert nib.load(store.get_image_uri(series)).shape == SHAPE


def test_an_upload_is_refused_and_replaces_nothing(client, open_store, tmp_path):
    store, series = open_store(), next(iter(client.folders))
    path = store.get_image_uri(series)
    before = Path(path).read_bytes()
    nib.save(nib.Nifti1Image(np.zeros(SHAPE), np.eye(4)), tmp_path / "own.nii.gz")
    for name in (series, "own"):
        with pytest.raises(HTTPException, match="DICOMweb server") as error:
            store.add_image(name, str(tmp_path / "own.nii.gz"), {})
        assert error.value.status_code == 400
    assert Path(path).read_bytes() == before and "own" not in store.list_images()


def test_unknown_series_is_not_found(open_store):
    with pytest.raises(HTTPException) as error:
        open_store().get_image_uri("1.2.3.4")
    assert error.value.status_code == 404


def test_labels_that_two_processes_save_are_both_listed(client, open_store, tmp_path):
    first, second = sorted(client.folders)
    stores = {first: open_store(), second: open_store()}
    label = np.zeros(SHAPE, dtype=np.uint8)
    label[1:3] = 1
    for series, store in stores.items():
        image = nib.load(store.get_image_uri(series))
        path = tmp_path / f"{series}.nii.gz"
        nib.save(nib.Nifti1Image(label, image.affine), path)
        store.save_label(series, str(path), "original", {})
    again = open_store()
    for series in stores:
        assert again.get_labels_by_image_id(series) == {"original": series}
        assert nib.load(again.get_label_uri(series, "original")).get_fdata().sum() == label.sum()
