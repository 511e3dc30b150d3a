"""What 3D Slicer does with a folder of NIfTI volumes, through MONAI Label's own client."""

import json
from concurrent.futures import ThreadPoolExecutor

import nibabel as nib
import numpy as np
import psutil
import pytest
import requests
from monailabel.client import MONAILabelClient
from scipy import ndimage

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


@pytest.fixture(scope="module")
def truth(volume) -> dict[str, np.ndarray]:
    """Name -> label map."""
    return {f"case_{seed}": volume(seed)[1] for seed in range(100, 105)}


@pytest.fixture(scope="module")
def client(server, tmp_path_factory):
    """MONAI Label's client."""
    return MONAILabelClient(server.url, str(tmp_path_factory.mktemp("client")), "tester")


def infer(client, model, image, params, **kwargs):
    """Mask file as NIfTI, and the answer."""
    path, answer = client.infer(model, image, params, **kwargs)
    return nib.load(path), answer


def values(image) -> set[int]:
    """Values of a NIfTI mask."""
    return {int(v) for v in np.unique(np.asarray(image.dataobj))}


def dice(a, b) -> float:
    """Dice of two boolean arrays."""
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_info_gives_both_clients_what_they_read(client):
    info = client.info()
    assert info["labels"] == ["anterior hippocampus", "posterior hippocampus"]
    for model in (MODEL, CLICK):
        assert info["models"][model]["description"]
        assert info["models"][model]["labels"]["posterior hippocampus"] == 2
    assert info["models"][MODEL]["type"] == "segmentation"
    assert info["models"][CLICK]["type"] == "deepedit"
    for option in info["models"][MODEL]["config"].values():
        assert isinstance(option, (str, bool, int, float)) or all(
            isinstance(entry, str) for entry in option
        )


def test_server_listens_on_loopback_only(server):
    found = psutil.Process(server.process.pid).net_connections(kind="tcp")
    assert {c.laddr.ip for c in found if c.status == "LISTEN"} == {"127.0.0.1"}


def test_text_free_mask_lies_on_the_image_grid(client, studies, truth):
    mask, answer = infer(client, MODEL, "case_100", {})
    image = nib.load(studies / "case_100.nii.gz")
    assert mask.shape == image.shape
    np.testing.assert_allclose(mask.affine, image.affine, atol=1e-5)
    array = np.asarray(mask.dataobj)
    for value in (1, 2):  # the bundle keeps the largest part of each label: one of the two bodies
        assert ndimage.label(array == value)[1] == 1
        bodies, _ = ndimage.label(truth["case_100"] == value)
        assert max(dice(array == value, bodies == n) for n in (1, 2)) > 0.75
    assert answer["label_names"] == {"anterior hippocampus": 1, "posterior hippocampus": 2}
    assert answer["prompt"]["used"] == "none"
    entry = answer["labels"]["posterior hippocampus"]
    voxel_ml = abs(np.linalg.det(image.affine[:3, :3])) / 1000
    assert entry["volume_ml"] == pytest.approx((array == 2).sum() * voxel_ml, rel=1e-3)
    assert entry["present"] and entry["presence"] > 0.5
    assert "posterior hippocamp" in entry["concepts"]


def test_same_request_gives_the_same_mask_and_encodes_once(client):
    first, before = infer(client, MODEL, "case_101", {})
    second, after = infer(client, MODEL, "case_101", {})
    np.testing.assert_array_equal(np.asarray(first.dataobj), np.asarray(second.dataobj))
    assert not before["encoder_cached"] and after["encoder_cached"]
    assert after["latencies"]["encode"] < before["latencies"]["encode"]


def test_prompt_keeps_the_label_asked_for_with_its_value(client):
    mask, answer = infer(client, MODEL, "case_100", {"concept": "posterior hippocampus"})
    assert values(mask) == {0, 2}
    assert answer["absent"] == ["anterior hippocampus"]
    assert answer["prompt"]["used"] == "concept"


@pytest.mark.parametrize(("side", "first", "last"), [("left", 16, 32), ("right", 0, 16)])
def test_location_prompt_keeps_the_object_asked_for(client, truth, side, first, last):
    mask, _ = infer(client, MODEL, "case_100", {"concept": f"hippocampus on the {side} side"})
    found = np.asarray(mask.dataobj) > 0
    assert found[first:last].any()
    assert not np.delete(found, np.s_[first:last], axis=0).any()
    there = (truth["case_100"] > 0)[first:last]
    assert dice(found[first:last], there) > 0.6


def test_label_prompt_works_and_yields_to_a_concept(client):
    mask, answer = infer(client, MODEL, "case_100", {"label_prompt": [1]})
    assert values(mask) == {0, 1} and answer["prompt"]["used"] == "label_prompt"
    request = {"label_prompt": [1], "concept": "posterior hippocampus"}
    mask, answer = infer(client, MODEL, "case_100", request)
    assert values(mask) == {0, 2} and "label_prompt" in answer["notes"][0]


def test_two_structures_in_one_request(client):
    request = {"concept": "anterior and posterior hippocampus"}
    assert values(infer(client, MODEL, "case_100", request)[0]) == {0, 1, 2}


def test_untouched_options_arrive_as_lists(client):
    request = {"label": ["all", "anterior hippocampus"], "uncertainty": "false", "concept": ""}
    assert values(infer(client, MODEL, "case_100", request)[0]) == {0, 1, 2}


def test_roi_option_limits_the_mask(client):
    mask, _ = infer(client, MODEL, "case_100", {"roi": "0,15,0,39,0,23"})
    found = np.asarray(mask.dataobj) > 0
    assert found[:16].any() and not found[16:].any()


def test_presence_threshold_decides_which_masks_are_emptied(client):
    shown = client.info()["models"][MODEL]["config"]["presence_threshold"]
    usual, answer = infer(client, MODEL, "case_100", {"presence_threshold": str(shown)})
    assert shown == 0.5 and values(usual) == {0, 1, 2} and answer["absent"] == []
    mask, answer = infer(client, MODEL, "case_100", {"presence_threshold": 1})
    assert values(mask) == {0}
    assert answer["absent"] == ["anterior hippocampus", "posterior hippocampus"]
    again, _ = infer(client, MODEL, "case_100", {})
    np.testing.assert_array_equal(np.asarray(again.dataobj), np.asarray(usual.dataobj))


def test_uncertainty_is_given_when_asked_for(client):
    assert infer(client, MODEL, "case_100", {"uncertainty": True})[1]["uncertainty"] > 0
    assert "uncertainty" not in infer(client, MODEL, "case_100", {})[1]


def test_click_gives_the_object_under_it(client, truth):
    parts, _ = ndimage.label(truth["case_102"] == 2)
    here = parts == parts[8, 14, 12]
    request = {"posterior hippocampus": [[8, 14, 12]], "label": "posterior hippocampus"}
    mask, answer = infer(client, CLICK, "case_102", request)
    found = np.asarray(mask.dataobj)
    assert values(mask) == {0, 2}
    assert dice(found == 2, here) > 0.6 and not found[16:].any()
    assert "posterior hippocampus" in answer["roi_concepts"]["posterior hippocampus"]


def test_deepgrow_and_vista_points_mean_the_same(client):
    wanted, _ = infer(client, CLICK, "case_102", {"posterior hippocampus": [[8, 14, 12]]})
    for request in (
        {"foreground": [[8, 14, 12]], "background": [], "label": "posterior hippocampus"},
        {"foreground": [[8, 14, 12]]},
        {"points": [[8, 14, 12]], "point_labels": [1], "label_prompt": [2]},
    ):
        mask, _ = infer(client, CLICK, "case_102", request)
        np.testing.assert_array_equal(np.asarray(mask.dataobj), np.asarray(wanted.dataobj))


def test_background_click_takes_its_side_away(client):
    clicks = {"posterior hippocampus": [[8, 14, 12], [23, 14, 12]]}
    both, _ = infer(client, CLICK, "case_102", clicks)
    found = np.asarray(both.dataobj)
    assert found[8, 14, 12] == 2 and found[23, 14, 12] == 2
    clicks["background"] = [[8, 14, 8]]
    less, _ = infer(client, CLICK, "case_102", clicks)
    found = np.asarray(less.dataobj)
    assert found[8, 14, 12] == 2 and found[8, 14, 8] == 0


def test_box_alone_gives_what_is_inside(client):
    mask, _ = infer(client, CLICK, "case_102", {"roi": [16, 31, 0, 39, 0, 23]})
    found = np.asarray(mask.dataobj)
    assert values(mask) == {0, 1, 2} and not found[:15].any()


def test_session_volume_is_segmented(client, studies):
    session = client.create_session(str(studies / "case_100.nii.gz"))["session_id"]
    mask, _ = infer(client, MODEL, "", {}, session_id=session)
    wanted, _ = infer(client, MODEL, "case_100", {})
    np.testing.assert_array_equal(np.asarray(mask.dataobj), np.asarray(wanted.dataobj))
    client.remove_session(session)


def test_nrrd_answer_has_the_same_grid(client, studies):
    from conceptseg.image_io import ConceptImageReader

    path, _ = client.infer(
        MODEL, "case_100", {"result_extension": ".nrrd", "result_dtype": "uint8"}
    )
    reader = ConceptImageReader(is_label=True)
    array, meta = reader.get_data(reader.read(path))
    wanted, _ = infer(client, MODEL, "case_100", {})
    np.testing.assert_array_equal(array[0], np.asarray(wanted.dataobj))
    np.testing.assert_allclose(meta["affine"], wanted.affine, atol=1e-4)


def test_several_people_at_once_get_their_own_masks(server, client):
    requests_ = [
        (MODEL, {}),
        (MODEL, {"concept": "posterior hippocampus"}),
        (MODEL, {"concept": "hippocampus on the left side"}),
        (MODEL, {"label_prompt": [1]}),
        (CLICK, {"posterior hippocampus": [[8, 14, 12]], "background": [[8, 14, 8]]}),
        (
            CLICK,
            {
                "foreground": [[23, 26, 12]],
                "background": [[23, 26, 8]],
                "label": "anterior hippocampus",
            },
        ),
    ]

    def ask(number: int) -> bytes:
        model, params = requests_[number % len(requests_)]
        answer = requests.post(
            f"{server.url}/infer/{model}",
            params={"image": f"case_10{3 + number // 6 % 2}", "output": "image"},
            data={"params": json.dumps({**params, "result_extension": ".nii"})},
        )
        answer.raise_for_status()
        return answer.content

    with ThreadPoolExecutor(6) as pool:  # both images are new to the server
        together = list(pool.map(ask, range(24)))
    alone = [ask(number) for number in range(12)]
    assert together == alone * 2
    assert len(set(alone)) == 12
