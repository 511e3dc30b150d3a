"""Two people annotate in rounds on a started server: batches, reasons, leases, record, page, restart."""

import json
import time

import numpy as np
import pytest
import requests
from monailabel.client import MONAILabelClient
from PIL import Image

MODEL = "polyp_endoscopy_segmentation"
TASK_SECONDS = 240
ROUND_STRATEGIES = ("typical", "concept_coverage", "concept_disagreement")


def wait_until(ready, what: str) -> None:
    """Wait until `ready()` is true."""
    deadline = time.monotonic() + TASK_SECONDS
    while not ready():
        assert time.monotonic() < deadline, f"{what} took too long"
        time.sleep(0.3)


@pytest.fixture(scope="module")
def studies(tmp_path_factory, photos):
    """Folder of twenty photographs, and their masks by name."""
    folder, truth = tmp_path_factory.mktemp("learning_studies"), {}
    for seed in range(300, 320):
        image, truth[f"photo_{seed}"] = photos(seed)
        Image.fromarray(image).save(folder / f"photo_{seed}.png")
    return folder, truth


@pytest.fixture(scope="module")
def server(serve, studies):
    """A server on the photographs, all of them scored."""
    server = serve(studies[0], MODEL)
    scored = lambda: requests.get(f"{server.url}/info/").json()["strategies"]["typical"]["scored"]  # noqa: E731
    wait_until(lambda: scored()[MODEL] == 20, "scoring")
    return server


@pytest.fixture(scope="module")
def people(server, tmp_path_factory) -> dict[str, MONAILabelClient]:
    """Clients of two annotators."""
    return {
        name: MONAILabelClient(server.url, str(tmp_path_factory.mktemp(name)), name)
        for name in ("ada", "ben")
    }


def record(server) -> list[dict]:
    """Events of the server's record."""
    (file,) = (server.log.parent / "model" / "rounds").glob("*/rounds.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()]


def draw(client, image: str, truth, folder, params=None) -> dict:
    """Ask for a mask, then save the true one."""
    client.infer(MODEL, image, {})
    path = folder / f"{image}.png"
    Image.fromarray(truth[image]).save(path)
    return client.save_label(image, str(path), "final", params)


def train_status(server) -> str:
    """Of the newest training."""
    return requests.get(f"{server.url}/train/").json()["status"]


def test_clients_begin_with_the_strategy_that_simulated_rounds_show_ahead(people):
    assert next(iter(people["ada"].info()["strategies"])) == "concept_disagreement"


def test_three_rounds_leave_a_record(server, people, studies, tmp_path):
    seen = []
    for strategy in ROUND_STRATEGIES:
        for _ in range(2):
            offers = {n: c.next_sample(strategy, {"batch": 2}) for n, c in people.items()}
            assert len({offer["id"] for offer in offers.values()}) == 2
            for name, offer in offers.items():
                assert offer["id"] not in seen
                assert offer["picked_by"] == strategy and len(offer["reason"]) > 10
                seen.append(offer["id"])
                answer = draw(people[name], offer["id"], studies[1], tmp_path)
                assert "polyp, located in the" in answer["concepts"]["polyp"]
                assert 0 <= answer["changed"]["polyp"] <= 1
        people["ada"].train_start(MODEL, {"max_epochs": 1})
        wait_until(lambda: train_status(server) in ("DONE", "ERROR"), "training")
        assert train_status(server) == "DONE"
    saved = [e for e in record(server) if e["event"] == "saved"]
    assert [e["image"] for e in saved] == seen
    assert [e["client"] for e in saved] == ["ada", "ben"] * 6
    assert [e["strategy"] for e in saved] == [s for s in ROUND_STRATEGIES for _ in range(4)]
    assert all(e["proposal"]["version"] and e["mean_dice"] is not None for e in saved)
    assert people["ada"].info()["datastore"]["completed"] == 12


def test_the_page_shows_curves_and_pictures(server):
    page = requests.get(f"{server.url}/rounds/")
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
    assert page.text.count("<img") == 12 and "<svg" in page.text
    assert "<script" not in page.text and "photo_3" in page.text


def test_concepts_are_corrected_with_the_next_sample(server, people, studies):
    saved = [e for e in record(server) if e["event"] == "saved" and e["client"] == "ada"]
    image = saved[-1]["image"]
    url = f"{server.url}/activelearning/random"
    wrong = requests.post(url, json={"client_id": "ada", "concepts": "fluffy polyp"})
    assert wrong.status_code == 400 and "fluffy" in wrong.json()["detail"]
    told = requests.post(url, json={"client_id": "ada", "concepts": "irregular polyp"}).json()
    assert image in told["concepts_remark"] and "irregular" in told["concepts_remark"]
    info = people["ada"].datastore()["objects"][image]["labels"]["final"]["info"]
    assert json.loads(info["corrected_concepts"]) == {"polyp": {"shape": "irregular"}}
    assert "irregular" in info["concepts"]["polyp"]
    again = requests.post(url, json={"client_id": "ada", "concepts": "irregular polyp"}).json()
    assert "not used again" in again["concepts_remark"]


def test_a_label_saved_again_keeps_what_is_known_of_it(server, people, studies, tmp_path):
    before = [e for e in record(server) if e["event"] == "saved" and e["client"] == "ada"][-1]
    image = before["image"]
    half = studies[1][image].copy()
    half[: half.shape[0] // 2] = 0
    Image.fromarray(half).save(tmp_path / f"{image}.png")
    time.sleep(1.1)  # labels are told apart by the second they were saved in
    answer = people["ada"].save_label(image, str(tmp_path / f"{image}.png"), "final", {})
    after = [e for e in record(server) if e["event"] == "saved"][-1]
    kept = (
        "image",
        "client",
        "strategy",
        "reason",
        "seconds_held",
        "proposal",
        "model",
        "corrected",
    )
    assert {k: after[k] for k in kept} == {k: before[k] for k in kept}
    assert after["corrected"] == {"polyp": {"shape": "irregular"}} and after["proposal"]
    assert after["foreground_voxels"] < before["foreground_voxels"]
    assert answer["changed"] == after["dice"] and "irregular" in answer["concepts"]["polyp"]


def test_leases_outlive_a_restart(server, people):
    held = people["ada"].next_sample("first", {})["id"]
    server.stop()
    server.start()
    offers = [people["ben"].next_sample(s, {"batch": 2}) for s in ("random", "clasp_entropy")]
    assert all(offer["id"] and offer["id"] != held for offer in offers)


def test_concepts_sent_with_a_label_are_kept(server, people, studies, tmp_path):
    image = next(iter(sorted(set(studies[1]) - {e.get("image") for e in record(server)})))
    answer = draw(people["ben"], image, studies[1], tmp_path, {"concepts": "elongated polyp"})
    assert "elongated" in answer["concepts"]["polyp"]
    assert np.array_equal(
        np.asarray(Image.open(studies[0] / "labels" / "final" / f"{image}.png")), studies[1][image]
    )


def test_people_who_set_no_name_are_known_by_their_computer(server, people, studies, tmp_path):
    url = f"{server.url}/activelearning/first"
    offers = {n: requests.post(url, json={"client_id": n}).json()["id"] for n in ("user-xyz", "")}
    (leases,) = (server.log.parent / "model" / "rounds").glob("*/leases.json")
    held = json.loads(leases.read_text())
    assert held[offers["user-xyz"]]["client"] == "user-xyz at 127.0.0.1"
    assert held[offers[""]]["client"] == "unnamed client at 127.0.0.1"
    draw(MONAILabelClient(server.url, str(tmp_path)), offers[""], studies[1], tmp_path)
    assert record(server)[-1]["client"] == "unnamed client at 127.0.0.1"
