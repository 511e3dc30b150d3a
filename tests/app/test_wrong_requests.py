"""Wrong requests, one by one: a readable answer, nothing told that must not be, nothing half saved."""

import json
import time

import nibabel as nib
import numpy as np
import pytest
import requests

from conceptseg.atomic import write_text_atomic

MODEL = "hippocampus_mr_segmentation"
CLICK = f"{MODEL}_interactive"


@pytest.fixture(scope="module")
def studies(volume_studies):
    """The folder."""
    return volume_studies


@pytest.fixture(scope="module")
def server(volume_server):
    """The server."""
    return volume_server


def objects(server) -> dict:
    """The server's list of studies."""
    return requests.get(f"{server.url}/datastore/?output=all").json()["objects"]


BAD_INFERENCES = [
    ("nothing", "case_100", {}, 404, "model"),
    (MODEL, "case_999", {}, 404, "image"),
    (MODEL, "/etc/hostname", {}, 400, "paths are refused"),
    (MODEL, "../case_100", {}, 400, "paths are refused"),
    (MODEL, "case_100", {"image": "/etc/hostname"}, 400, "paths are refused"),
    (MODEL, "case_100", {"concept": "purple elephant"}, 400, "elephant"),
    (MODEL, "case_100", {"concept": 5}, 400, "concept"),
    (MODEL, "case_100", {"prompt_strength": "strong"}, 400, "prompt_strength"),
    (MODEL, "case_100", {"prompt_strength": 2}, 400, "prompt_strength"),
    (MODEL, "case_100", {"presence_threshold": "80 %"}, 400, "presence_threshold"),
    (MODEL, "case_100", {"label": "liver"}, 400, "liver"),
    (MODEL, "case_100", {"label_prompt": [7]}, 400, "label_prompt"),
    (MODEL, "case_100", {"roi": "1,2,3"}, 400, "roi"),
    (MODEL, "case_100", {"roi": "100,120,0,5,0,5"}, 400, "inside the image"),
    (MODEL, "case_100", {"uncertainty": "maybe"}, 400, "uncertainty"),
    (MODEL, "case_100", {"result_extension": ".exe"}, 400, "result_extension"),
    (CLICK, "case_100", {}, 400, "point"),
    (CLICK, "case_100", {"foreground": [[500, 1, 1]]}, 400, "inside the image"),
    (CLICK, "case_100", {"foreground": "here"}, 400, "foreground"),
    (CLICK, "case_100", {"foreground": [[1, 2]]}, 400, "foreground"),
]


@pytest.mark.parametrize(("model", "image", "params", "status", "words"), BAD_INFERENCES)
def test_wrong_inference_is_answered_with_a_sentence(server, model, image, params, status, words):
    answer = requests.post(
        f"{server.url}/infer/{model}", params={"image": image}, data={"params": json.dumps(params)}
    )
    assert answer.status_code == status
    assert words in answer.json()["detail"] and "Traceback" not in answer.text


BAD_CALLS = [
    ("POST", f"/infer/{MODEL}?image=case_100", {"data": {"params": "{broken"}}, 400),
    ("POST", "/activelearning/none", {"json": {}}, 404),
    ("POST", "/train/none", {"json": {}}, 404),
    ("POST", f"/train/{MODEL}", {"json": {}}, 400),  # nothing is labelled yet
    ("POST", f"/train/{MODEL}", {"json": {"max_epochs": "many"}}, 400),
    ("POST", f"/train/{MODEL}", {"data": "{broken"}, 400),
    ("POST", "/scoring/none", {"json": {}}, 404),
    ("POST", "/batch/infer/none", {"json": {}}, 404),
    ("POST", "/batch/infer/none?images=some", {"json": {}}, 404),
    ("GET", "/datastore/image?image=../server.log", {}, 400),
    ("GET", "/datastore/label?label=case_100&tag=../../x", {}, 400),
    ("GET", "/session/none", {}, 404),
    ("POST", f"/infer/{MODEL}?image=&session_id=none", {"data": {"params": "{}"}}, 404),
    ("POST", f"/infer/{MODEL}?session_id=..", {"data": {"params": "{}"}}, 400),
    ("POST", f"/infer/{MODEL}", {"data": {"params": "{}"}}, 400),
    ("POST", f"/infer/{MODEL}?image=case_100", {"data": {"params": "[1]"}}, 400),
    ("POST", f"/infer/{MODEL}?image=case_100&output=none", {"data": {"params": "{}"}}, 422),
    ("POST", f"/infer/{MODEL}", {"files": {"file": ("a.nii.gz", b"nothing")}}, 400),
    ("PUT", "/datastore/image?image=new", {"files": {"file": ("a.nii.gz", b"nothing")}}, 400),
    ("PUT", "/datastore/image?image=../new", {"files": {"file": ("a.nii.gz", b"x")}}, 400),
    ("GET", "/datastore/label?label=case_100&tag=none", {}, 404),
    ("GET", "/datastore/dataset", {}, 404),
    ("DELETE", "/session/%2e%2e", {}, 404),
    ("GET", "/model/none", {}, 404),
    ("POST", "/reload", {}, 403),
    ("POST", "/activelearning/first", {"data": "[1, 2]"}, 400),
    ("POST", f"/batch/infer/{MODEL}", {"json": {"images": "some"}}, 400),
    ("POST", f"/batch/infer/{MODEL}", {"json": {"max_batch_size": "many"}}, 400),
    ("POST", f"/batch/infer/{MODEL}", {"json": {"label_tag": "../x"}}, 400),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), BAD_CALLS)
def test_wrong_call_is_answered_with_a_sentence(server, method, path, body, status):
    answer = requests.request(method, server.url + path, **body)
    assert answer.status_code == status
    assert isinstance(answer.json()["detail"], str)


def test_unusable_image_is_named(server, studies):
    write_text_atomic(studies / "broken.nii.gz", "no image")
    deadline = time.monotonic() + 30
    while "broken" not in objects(server) and time.monotonic() < deadline:
        time.sleep(0.2)  # the server watches the folder
    answer = requests.post(f"{server.url}/infer/{MODEL}?image=broken", data={"params": "{}"})
    assert answer.status_code == 400 and "broken" in answer.json()["detail"]
    (studies / "broken.nii.gz").unlink()


def test_unusable_labels_are_refused_and_nothing_is_saved(server, studies, tmp_path):
    wrong = tmp_path / "wrong.nii.gz"
    wrong.write_bytes(b"not an image")
    small = tmp_path / "small.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((3, 3, 3), np.uint8), np.eye(4)), small)
    for path, words in ((wrong, "readable"), (small, "size")):
        with open(path, "rb") as stream:
            answer = requests.put(
                f"{server.url}/datastore/label?image=case_100", files={"label": stream}
            )
        assert answer.status_code == 400 and words in answer.json()["detail"]
    with open(small, "rb") as stream:
        answer = requests.put(
            f"{server.url}/datastore/label?image=case_100&tag=../up", files={"label": stream}
        )
    assert answer.status_code == 400
    assert not list((studies / "labels" / "final").iterdir())
    assert objects(server)["case_100"]["labels"] == {}
