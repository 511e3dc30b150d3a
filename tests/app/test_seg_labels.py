"""Labels of a DICOMweb server: DICOM SEG written by dcmqi, read back, left out, kept and forgotten."""

import os
import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from lib import dicomweb
from lib.dicomweb import StudiesServer, install_segment_names
from monailabel.datastore.dicom import DICOMWebDatastore
from pydicom import dcmread
from pydicom.dataset import Dataset

from conceptseg.dicom_series import write_mr_series

SHAPE = (12, 10, 8)
SPACING = (1.0, 1.1, 1.3)
LABELS = ["head", "tail"]


class Client:
    """A DICOMweb client of DICOM files in memory, one after the other in time."""

    base_url = "http://studies"

    def __init__(self) -> None:
        self.series: dict[str, list[Dataset]] = {}
        self.before = lambda series: None

    def add(self, *paths: Path) -> str:
        """Store files of one series; gives its UID."""
        datasets = [dcmread(path) for path in paths]
        self.series[datasets[0].SeriesInstanceUID] = datasets
        return datasets[0].SeriesInstanceUID

    def search_for_series(self, search_filters: dict, offset: int = 0) -> list[dict]:
        found = []
        for uid, (first, *_) in self.series.items():
            wanted = search_filters.get("SeriesInstanceUID", uid)
            if wanted == uid and search_filters.get("Modality", first.Modality) == first.Modality:
                found.append(first)
        keys = ["StudyInstanceUID", "SeriesInstanceUID", "Modality"]
        return [
            {key: value for key, value in d.to_json_dict().items() if key in tags}
            for d in found[offset:]
            for tags in [{f"{d.data_element(k).tag:08X}" for k in keys}]
        ]

    def retrieve_series_metadata(self, study: str, series: str) -> list[dict]:
        return [_without_pixels(dataset) for dataset in self.series[series]]

    def retrieve_series(self, study: str, series: str):
        self.before(series)
        yield from self.series[series]


def _without_pixels(dataset: Dataset) -> dict:
    """Metadata as JSON."""
    found = dataset.to_json_dict()
    return {key: value for key, value in found.items() if key != "7FE00010"}


@pytest.fixture
def client(tmp_path, monkeypatch) -> Client:
    """A client of two MR series; what is sent to it is kept."""
    client, sent = Client(), []
    for name in "ab":
        image = np.random.default_rng(0).random(SHAPE).astype(np.float32)
        write_mr_series(tmp_path / name, image, name, SPACING)
        client.add(*sorted((tmp_path / name).glob("*.dcm")))

    def send(path: str, _: Client) -> str:
        sent.append(path)
        dataset = dcmread(path)  # made within a second of the one before
        dataset.ContentTime = dataset.InstanceCreationTime = f"{len(sent):06d}"
        dataset.save_as(path)
        return client.add(path)

    monkeypatch.setattr(dicomweb.dicom_module, "dicom_web_upload_dcm", send)
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{Path(sys.executable).parent}")
    install_segment_names(LABELS)
    return client


@pytest.fixture
def open_store(client, tmp_path):
    """Open a cache folder, as each process does; nothing watches it."""

    def opened(cache: str = "cache", **options) -> StudiesServer:
        store = DICOMWebDatastore(client, {"Modality": "MR"}, str(tmp_path / cache), **options)
        store._observer.stop()
        return StudiesServer.of(store)

    return opened


@pytest.fixture
def save(client, tmp_path):
    """Store, number of the image, label map (SHAPE) -> the SEG of the saved final label."""

    def submit(store, number: int, label: np.ndarray) -> str:
        series = images(client)[number]
        path = tmp_path / "label.nii.gz"
        affine = nib.load(store.get_image_uri(series)).affine
        nib.save(nib.Nifti1Image(label.astype(np.uint8), affine), path)
        store.save_label(series, str(path), "final", {"client_id": "ada"})
        return store.get_label_info(series, "final")["SeriesInstanceUID"]

    return submit


def images(client: Client) -> list[str]:
    """The two MR series."""
    return [uid for uid, (first, *_) in client.series.items() if first.Modality == "MR"]


def block(value: int, first: int = 3) -> np.ndarray:
    """A label map with a block of one value in two slices."""
    label = np.zeros(SHAPE)
    label[2:6, 3:5, first : first + 2] = value
    return label


def spoil(client: Client, series: str, how: str) -> None:
    """Make a SEG one that pydicom-seg does not read."""
    (seg,) = client.series[series]
    if how == "fractional":
        seg.SegmentationType = "FRACTIONAL"
    elif how == "overlapping":
        seg.SegmentsOverlap = "YES"
    else:
        del seg.PerFrameFunctionalGroupsSequence


def voxels(path: str) -> np.ndarray:
    """Values of a label file."""
    return np.asarray(nib.load(path).dataobj)


def test_a_fetched_label_lies_on_the_grid_of_its_image(client, open_store, save, monkeypatch):
    image, *_ = images(client)
    store = open_store()
    save(store, 0, block(2))
    monkeypatch.setattr(tempfile, "tempdir", str(Path(store._datastore_path).parent))
    before = set(os.listdir(tempfile.gettempdir()))
    other = open_store("other")
    path = other.get_label_uri(image, "final")
    assert path == other.get_label_uri(image, "final") and "other" in path
    np.testing.assert_array_equal(voxels(path), block(2) / 2)  # numbers of the segments
    found, wanted = nib.load(path), nib.load(other.get_image_uri(image))
    np.testing.assert_allclose(found.affine, wanted.affine, atol=1e-4)
    assert other.get_label_info(image, "final")["label_info"] == [{"name": "tail", "idx": 1}]
    assert set(os.listdir(tempfile.gettempdir())) - before <= {"other"}


@pytest.mark.parametrize("how", ["fractional", "overlapping", "damaged"])
def test_a_seg_that_cannot_be_read_stops_no_training(client, open_store, save, how, caplog):
    store, (first, second) = open_store(), images(client)
    save(store, 0, block(1))
    spoiled = save(store, 0, block(2))
    lost = save(store, 1, block(1))
    for series in (spoiled, lost):
        spoil(client, series, how)
    other = open_store("other")
    (pair,) = other.datalist()
    assert first in pair["image"] and voxels(pair["label"]).max() == 1
    assert other.get_label_info(first, "final")["label_info"][0]["name"] == "head"  # the older one
    assert spoiled in caplog.text and lost in caplog.text
    assert other.get_labeled_images() == [first]
    assert other.get_label_uri(second, "final") == ""
    assert other.get_unlabeled_images() == [second]


def test_a_label_that_cannot_be_fetched_now_leaves_the_others(client, open_store, save):
    store, (_, second) = open_store(), images(client)
    series = [save(store, number, block(1)) for number in range(2)]

    def before(asked: str) -> None:
        if asked == series[0]:
            raise ConnectionError("the server is busy")

    client.before = before
    other = open_store("other")
    (pair,) = other.datalist()
    assert second in pair["image"]
    client.before = lambda asked: None
    assert len(other.datalist()) == 2


def test_a_seg_of_another_place_is_left_out(client, open_store, save):
    store, (first, *_) = open_store(), images(client)
    (seg,) = client.series[save(store, 0, block(1))]
    for frame in seg.PerFrameFunctionalGroupsSequence:
        frame.PlanePositionSequence[0].ImagePositionPatient[2] += 500
    assert open_store("other").get_label_uri(first, "final") == ""


def test_a_label_saved_during_a_training_stays(client, open_store, save, monkeypatch):
    store, list_segs = open_store(), client.search_for_series

    def search(search_filters: dict, **options) -> list[dict]:
        found = list_segs(search_filters, **options)
        if search_filters == {"Modality": "SEG"} and not store.get_label_info(
            images(client)[0], "final"
        ):
            save(store, 0, block(1))
        return found

    monkeypatch.setattr(client, "search_for_series", search)
    store.datalist()
    assert store.get_label_info(images(client)[0], "final")["client_id"] == "ada"
    assert len(store.datalist()) == 1


def test_only_a_label_that_is_gone_from_the_server_is_forgotten(
    client, open_store, save, monkeypatch
):
    store, (first, second) = open_store(), images(client)
    older, newer, other = (save(store, n, block(1, 2 + i)) for i, n in enumerate((0, 0, 1)))
    unlisted = client.search_for_series

    def search(search_filters: dict, **options) -> list[dict]:
        found = unlisted(search_filters, **options)
        return [
            f
            for f in found
            if search_filters != {"Modality": "SEG"} or f["0020000E"]["Value"] != [other]
        ]

    monkeypatch.setattr(client, "search_for_series", search)
    client.series.pop(newer)
    pairs = {Path(pair["image"]).name: voxels(pair["label"]) for pair in store.datalist()}
    np.testing.assert_array_equal(pairs[f"{first}.nii.gz"], block(1, 2))  # the older one came back
    np.testing.assert_array_equal(pairs[f"{second}.nii.gz"], block(1, 4))
    assert store.get_label_info(first, "final")["SeriesInstanceUID"] == older
    client.series.pop(older)
    assert len(store.datalist()) == 1


def test_without_conversion_a_label_is_a_folder_of_dicom_files(client, open_store, save):
    save(open_store(), 0, block(1))
    store = open_store("other", convert_to_nifti=False)
    folder = Path(store.get_label_uri(images(client)[0], "final"))
    assert folder.is_dir() and dcmread(next(folder.glob("*.dcm"))).Modality == "SEG"
