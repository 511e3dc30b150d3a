"""Leases, batches and corrections without a server."""

import json

import pytest
from fastapi import HTTPException


class Clock:
    """Time that only moves when told."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def leases(tmp_path, clock):
    """Leases of ten minutes."""
    from lib.leases import Leases

    return Leases(tmp_path / "leases.json", 10, clock)


def test_an_image_in_other_hands_is_not_offered(leases):
    leases.grant("a", "ada", {})
    assert leases.free_for("ben", ["c", "b", "a"]) == ["b", "c"]
    assert leases.free_for("ada", ["a", "b"]) == ["b"]  # never the same twice


def test_own_images_come_again_when_nothing_else_is_left_the_oldest_first(leases, clock):
    leases.grant("b", "ada", {})
    clock.now += 1
    leases.grant("a", "ada", {})
    assert leases.free_for("ada", ["a", "b"]) == ["b"]
    assert leases.free_for("ben", ["a", "b"]) == []


def test_a_lease_expires_and_is_released_by_saving(leases, clock):
    leases.grant("a", "ada", {"strategy": "typical"})
    clock.now += 601
    assert leases.free_for("ben", ["a"]) == ["a"]
    assert leases.release("a")["strategy"] == "typical"  # the record still says who had it
    assert leases.release("a") is None


def test_leases_outlive_the_process(leases, tmp_path, clock):
    from lib.leases import Leases

    leases.grant("a", "ada", {})
    again = Leases(tmp_path / "leases.json", 10, clock)
    assert again.free_for("ben", ["a", "b"]) == ["b"]


def test_studies_of_the_same_name_have_rounds_of_their_own(tmp_path, monkeypatch):
    from lib.desk import rounds_folder

    one, two = tmp_path / "a" / "studies", tmp_path / "b" / "studies"
    one.mkdir(parents=True)
    (tmp_path / "link").symlink_to(one)
    folder = rounds_folder(tmp_path, str(one))
    assert folder.parent == tmp_path / "rounds" and folder.name.startswith("studies_")
    assert rounds_folder(tmp_path, str(two)) != folder
    monkeypatch.chdir(tmp_path)
    assert rounds_folder(tmp_path, "link") == rounds_folder(tmp_path, "a/studies/") == folder
    address = "http://127.0.0.1:8042/dicom-web"
    assert rounds_folder(tmp_path, address) == rounds_folder(tmp_path, f"{address}/")
    assert rounds_folder(tmp_path, address) != rounds_folder(
        tmp_path, "http://127.0.0.1:8043/dicom-web"
    )
    assert rounds_folder(tmp_path, address).name.startswith("127.0.0.1_")


def test_the_record_of_an_older_version_stays_and_is_named_in_the_log(tmp_path, caplog):
    from lib.desk import rounds_folder

    older = tmp_path / "rounds" / "rounds.jsonl"
    older.parent.mkdir()
    older.write_text("{}\n")
    folder = rounds_folder(tmp_path, str(tmp_path / "studies"))
    assert str(older) in caplog.text and str(folder) in caplog.text
    assert older.read_text() == "{}\n" and not folder.exists()
    folder.mkdir()
    caplog.clear()
    rounds_folder(tmp_path, str(tmp_path / "studies"))
    assert not caplog.text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("irregular polyp", {"polyp": {"shape": "irregular"}}),
        ("2 small red polyps", {"polyp": {"number": 2, "size": "small", "color": "red"}}),
        ("", {}),
    ],
)
def test_corrections_are_read(text, expected):
    from lib.corrections import read_corrections

    assert read_corrections(text, ["polyp"]) == expected


def test_corrections_of_several_labels():
    from lib.corrections import read_corrections

    keywords = ["anterior hippocampus", "posterior hippocampus"]
    text = "small anterior hippocampus; dark posterior hippocampus"
    found = read_corrections(text, keywords)
    assert found == {keywords[0]: {"size": "small"}, keywords[1]: {"intensity": "dark"}}


@pytest.mark.parametrize("text", ["fluffy polyp", 7])
def test_wrong_corrections_are_refused(text):
    from lib.corrections import read_corrections

    with pytest.raises(HTTPException) as error:
        read_corrections(text, ["polyp"])
    assert error.value.status_code == 400


def test_a_correction_names_its_image():
    from lib.corrections import split_case

    assert split_case("case_1: oval polyp", ["case_1"]) == ("case_1", "oval polyp")
    assert split_case("oval polyp", ["case_1"]) == (None, "oval polyp")
    with pytest.raises(HTTPException, match="image of the studies"):
        split_case("case_2: oval polyp", ["case_1"])


class Scores:
    """Scores of three images, as `BackgroundScores` gives them."""

    version, count = "v1", 3

    def records(self, name, images):
        from conceptseg.active_learning import CaseRecord

        return self.version, {f"i{n}": CaseRecord.blank(f"i{n}", 1) for n in range(self.count)}


class Studies:
    """A datastore of five images without labels."""

    def __init__(self):
        self.labelled: set[str] = set()

    def list_images(self):
        return [f"i{n}" for n in range(5)]

    def get_labeled_images(self):
        return sorted(self.labelled)

    def get_unlabeled_images(self, tag=None, labels=None):
        return [i for i in self.list_images() if i not in self.labelled]


@pytest.fixture
def strategy(tmp_path, leases):
    """`random_foreground` with leases, and its datastore."""
    import threading
    from types import SimpleNamespace

    from lib.batch_strategy import BatchStrategy
    from lib.leased_strategy import LeasedStrategy

    from conceptseg.active_learning import STRATEGIES

    bundle = SimpleNamespace(name="b", keywords=("polyp",))
    desk = SimpleNamespace(
        folder=tmp_path, served={"b": SimpleNamespace(bundle=bundle)}, scores=Scores(),
        labelled_concepts=lambda name, images: dict.fromkeys(images), leases=leases,
        lock=threading.RLock(), correct=lambda *args: None,
    )  # fmt: skip
    inner = BatchStrategy(STRATEGIES["random_foreground"], desk)
    return LeasedStrategy("random_foreground", inner, desk), Studies(), desk


def test_a_batch_is_handed_out_image_by_image_and_scored_ones_first(strategy):
    leased, studies, _ = strategy
    offers = [leased({"client_id": "ada", "batch": 3}, studies) for _ in range(5)]
    assert [o["batch_left"] for o in offers[:3]] == [2, 1, 0]
    assert {o["id"] for o in offers[:3]} == {"i0", "i1", "i2"}
    assert {o["id"] for o in offers[3:]} == {"i3", "i4"}
    assert "no image is scored yet" in offers[3]["reason"]


def test_a_batch_outlives_a_restart_and_new_weights_end_it(strategy):
    leased, studies, desk = strategy
    leased({"client_id": "ada", "batch": 3}, studies)
    kept = json.loads((desk.folder / "batches" / "random_foreground.json").read_text())
    assert leased({"client_id": "ben", "batch": 3}, studies)["id"] == kept["picks"][1]["name"]
    desk.scores.version = "v2"
    offer = leased({"client_id": "cy", "batch": 3}, studies)
    assert offer["model_version"] == "v2" and offer["batch_left"] == 0


@pytest.mark.parametrize("picking", ["random_foreground", "typical"])
def test_scores_without_weights_serve_strategies_that_need_none(strategy, picking):
    from conceptseg.active_learning import STRATEGIES

    leased, studies, desk = strategy
    desk.scores.version = "untrained"
    leased.inner.picking = STRATEGIES[picking]
    reason = leased({"client_id": "ada", "batch": 3}, studies)["reason"]
    assert (reason == "chosen by chance: the model has no weights yet") is (picking != "typical")


def test_nothing_is_offered_when_all_is_labelled_or_held(strategy):
    leased, studies, _ = strategy
    studies.labelled = {"i0", "i1", "i2", "i3"}
    assert leased({"client_id": "ada"}, studies)["id"] == "i4"
    assert leased({"client_id": "ben"}, studies) is None


@pytest.mark.parametrize("batch", [0, "many", 5000])
def test_a_wrong_batch_is_refused(strategy, batch):
    leased, studies, _ = strategy
    with pytest.raises(HTTPException, match="'batch' from 1 to 1000"):
        leased({"client_id": "ada", "batch": batch}, studies)


def test_an_image_offered_this_second_is_offered_again_when_it_is_the_last():
    import time

    from lib.strategies import AnyImage

    studies = Studies()
    studies.labelled = {"i0", "i1", "i2", "i3"}
    later = int(time.time()) + 60  # the second of the offer does not end while the test runs
    studies.get_image_info = lambda image: {"strategy": {"random": {"ts": later}}}
    assert AnyImage()({"strategy": "random"}, studies)["id"] == "i4"
    studies.labelled.add("i4")
    assert AnyImage()({"strategy": "random"}, studies) is None
