"""Masks of models that are saved as labels: by a request, or by a batch."""

from contextvars import copy_context
from types import SimpleNamespace

import lib.dicomweb
import nibabel as nib
import numpy as np
import pytest
from lib.batch import ResumableBatch
from lib.renumber import is_foreign, own_values
from lib.store import EXTENSIONS, StudiesFolder
from main import ConceptSegApp
from monailabel.interfaces.app import MONAILabelApp

NAMES = ["case_0", "case_1"]
KEYWORDS = {"polyps": ("polyp",), "wounds": ("wound",)}


@pytest.fixture
def app(tmp_path, monkeypatch):
    """The app with two bundles on two volumes; each model marks a whole volume."""

    def model(name: str, keywords):
        def answer(request):
            path = tmp_path / "answer.nii.gz"
            nib.save(nib.Nifti1Image(np.ones((4, 5, 3), np.uint8), np.eye(4)), path)
            return str(path), {"model_version": "v1"}

        answer.description = name
        answer.bundle = SimpleNamespace(keywords=keywords)
        return answer

    folder = tmp_path / "studies"
    folder.mkdir()
    for name in NAMES:
        nib.save(nib.Nifti1Image(np.ones((4, 5, 3)), np.eye(4)), folder / f"{name}.nii.gz")
    app = object.__new__(ConceptSegApp)
    app._infers = {name: model(name, keywords) for name, keywords in KEYWORDS.items()}
    app._infers_threadpool = app._sessions = None
    app._datastore = StudiesFolder(str(folder), extensions=EXTENSIONS, auto_reload=False)
    app.desk = SimpleNamespace(note_proposal=lambda request, result: None)
    monkeypatch.setattr(MONAILabelApp, "sessions", lambda self: None)
    return app


def run(call, *arguments):
    """A call in a context of its own, as each request has one."""
    return copy_context().run(call, *arguments)


def test_a_mask_saved_as_final_has_the_names_of_its_own_model(app):
    request = {"model": "wounds", "image": "case_0", "save_label": True, "label_tag": "final"}
    run(app.infer, request)
    info = app.datastore().get_label_info("case_0", "final")
    assert info["label_info"] == [{"name": "wound", "idx": 1}] and info["model"] == "wounds"
    polyps, wounds = (SimpleNamespace(labels={k: 1}) for (k,) in KEYWORDS.values())
    assert is_foreign(info["label_info"], polyps, ["polyp", "wound"])
    assert own_values(info["label_info"], wounds) == {}


def test_a_batch_writes_the_list_once_for_each_image(app, monkeypatch):
    store, written = app.datastore(), []
    write = store._update_datastore_file
    monkeypatch.setattr(
        store, "_update_datastore_file", lambda lock=True: (written.append(lock), write(lock))
    )
    served = SimpleNamespace(network=lambda: None, version=lambda: "v1")
    batch = ResumableBatch({"wounds": served})
    request = {"model": "wounds", "label_tag": "final"}
    assert run(batch, request, store, app.infer) == dict.fromkeys(NAMES, "done")
    assert len(written) == len(NAMES)
    assert store.get_label_info("case_0", "final")["label_info"] == [{"name": "wound", "idx": 1}]
    assert run(batch, request, store, app.infer) == dict.fromkeys(NAMES, "skipped")
    other = {**request, "concept": "no wound"}
    assert run(batch, other, store, app.infer) == dict.fromkeys(NAMES, "done")


def test_a_dicom_seg_without_names_has_those_of_the_model_that_answered(app, monkeypatch, tmp_path):
    named = []
    monkeypatch.setattr(
        lib.dicomweb.dicom_module,
        "nifti_to_dicom_seg",
        lambda folder, label, segments, *_: named.append([s["name"] for s in segments]),
    )
    monkeypatch.setattr(lib.dicomweb.infer_endpoint, "nifti_to_dicom_seg", None)
    lib.dicomweb.install_segment_names(["polyp", "wound"])

    def ask(model: str | None, info: list) -> None:
        answer = str(tmp_path / "studies" / "case_0.nii.gz")
        if model:
            answer = app.infer({"model": model, "image": "case_0"})["file"]
        lib.dicomweb.infer_endpoint.nifti_to_dicom_seg(".", answer, info)

    run(ask, "wounds", [])
    run(ask, "polyps", [])
    run(ask, "wounds", [{"name": "ulcer", "idx": 1}])
    run(ask, None, [])  # a label that a client has drawn
    assert named == [["wound"], ["polyp"], ["ulcer"], ["polyp"]]
