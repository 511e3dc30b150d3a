"""Extraction over a data set: resuming, faults, corrections, the concept file, the bundle's commands."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from chat_server import ChatServer
from monai.bundle import run as run_bundle
from phantoms import write_photos, write_volumes

pytest.importorskip("openai", reason="the extra 'lmm' is not installed")

from conceptseg.concepts import Concepts
from conceptseg.concepts.described import described
from conceptseg.errors import root_cause
from conceptseg.extraction.corrections import correct_concepts
from conceptseg.extraction.records import AnswerLine, ConceptLine, FailureLine
from conceptseg.extraction.store import ConceptFile, load_concepts, read_lines
from conceptseg.extraction.summary import summarize

POLYP, HIPPOCAMPUS = "polyp_endoscopy_segmentation", "hippocampus_mr_segmentation"


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos"), 6)


def extract(
    repository, data: Path, output: Path, server: ChatServer | None, *run_id, **more
) -> None:
    """The bundle's command, in this process."""
    bundle = repository / "bundles" / more.pop("bundle", POLYP)
    configs = ["extract_concepts.yaml", *more.pop("overlays", [])]
    if server is not None:
        more |= {"base_url": server.url, "model": "tiny"}
    run_bundle(
        *run_id,
        config_file=[str(bundle / "configs" / c) for c in configs],
        logging_file=False,
        bundle_root=str(bundle),
        dataset_dir=str(data),
        output_file=str(output),
        max_retries=0,
        **more,
    )


def line(case: str = "a.png", **values) -> ConceptLine:
    """A described label."""
    concepts = Concepts(keyword="polyp", **values)
    return ConceptLine(case=case, keyword="polyp", description=described(concepts), settings="s")


def test_the_command_describes_every_label_once(repository, photos, tmp_path):
    output = tmp_path / "concepts.jsonl"
    with ChatServer() as server:
        extract(repository, photos, output, server)
        assert server.count == 1 + 6 * 2  # the probe, and two views of each case
        extract(repository, photos, output, server)
        assert server.count == 1 + 6 * 2 + 1  # the second run's probe
    found = load_concepts(output)
    assert sorted(found) == [(f"images/{i}.png", "polyp") for i in range(6)]
    values = found["images/0.png", "polyp"].description.values
    assert {"number", "location", "size", "shape", "color", "texture", "margin", "pattern"} == set(
        values
    )
    assert values["number"].value == 1 and values["texture"].prompt_hash
    assert found["images/0.png", "polyp"].fraction == pytest.approx(314 / (64 * 48), rel=0.05)
    summary = json.loads(output.with_suffix(".summary.json").read_text())
    assert summary["described"] == 6 and summary["values"]["number"] == {"1": 6}


def test_nothing_but_pixels_and_the_question_goes_out(repository, photos, tmp_path):
    with ChatServer() as server:
        extract(repository, photos, tmp_path / "c.jsonl", server)
        sent = json.dumps(server.bodies)
    assert str(photos) not in sent and "images/0" not in sent and ".png" not in sent


def test_another_question_is_asked_anew(repository, photos, tmp_path):
    output = tmp_path / "c.jsonl"
    with ChatServer() as server:
        extract(repository, photos, output, server)
        before = server.count
        extract(repository, photos, output, server, margin=0.5)
        assert server.count == before + 1 + 12


@pytest.mark.parametrize("fault", ["garbage", "500", "html", "close"])
def test_failures_are_listed_by_case_and_tried_again(repository, photos, tmp_path, fault):
    output = tmp_path / "c.jsonl"
    with ChatServer(lambda number, body: fault if number > 0 else None) as server:
        extract(repository, photos, output, server)
    summary = json.loads(output.with_suffix(".summary.json").read_text())
    assert summary["described"] == 0 and summary["failed"] == 6
    assert {f["case"] for f in summary["failures"]} == {f"images/{i}.png" for i in range(6)}
    assert all(f["reason"] for f in summary["failures"])
    with ChatServer() as server:
        extract(repository, photos, output, server)
    assert summarize(output)["described"] == 6 and summarize(output)["failed"] == 0


def test_a_server_that_ignores_the_schema_is_put_right_by_validation(repository, photos, tmp_path):
    output = tmp_path / "c.jsonl"
    with ChatServer(lambda number, body: "ignores_schema") as server:
        extract(repository, photos, output, server)
        assert server.count == 1 + 12 * 2
    answers = [a for d in load_concepts(output).values() for a in d.description.answers]
    assert len(answers) == 12 and all("indescribable" in a.rejected[0] for a in answers)


def test_a_server_that_goes_away_stops_the_run_and_keeps_what_is_done(repository, tmp_path):
    data, output = write_photos(tmp_path / "data", 12), tmp_path / "c.jsonl"
    with ChatServer() as server:

        def leave(number: int, body: dict) -> str | None:
            if number < 5:  # the probe and two cases
                return None
            server.socket.close()  # nobody listens any more
            return "close"

        server.fault = leave
        with pytest.raises(RuntimeError) as caught:  # MONAI wraps it
            extract(repository, data, output, server, in_flight=1)
        assert "run the same command again" in str(root_cause(caught.value))
    summary = summarize(output)
    assert summary["described"] == 2 and 5 <= summary["failed"] < 10
    with ChatServer() as server:
        extract(repository, data, output, server)
    assert summarize(output)["described"] == 12


def test_a_server_that_fails_for_good_does_not_cost_the_whole_archive(
    repository, photos, tmp_path, monkeypatch
):
    monkeypatch.setattr("conceptseg.extraction.extract.FAILURE_LIMIT", 3)
    with ChatServer(lambda number, body: "500" if number else None) as server:
        with pytest.raises(RuntimeError) as caught:
            extract(repository, photos, tmp_path / "c.jsonl", server, in_flight=1)
        assert "HTTP status 500" in str(root_cause(caught.value))
    assert summarize(tmp_path / "c.jsonl")["failed"] < 6


def test_an_image_that_cannot_be_read_is_a_failure_of_its_case_alone(repository, tmp_path):
    data = write_photos(tmp_path / "data", 3)
    (data / "images" / "1.png").write_bytes(b"not a picture")
    with ChatServer() as server:
        extract(repository, data, tmp_path / "c.jsonl", server)
    summary = summarize(tmp_path / "c.jsonl")
    assert summary["described"] == 2
    assert [f["case"] for f in summary["failures"]] == ["images/1.png"]
    assert "not read" in summary["failures"][0]["reason"]


def test_as_many_requests_are_in_flight_as_asked_for(repository, photos, tmp_path):
    together = threading.Barrier(3)

    def meet(number: int, body: dict) -> None:
        if 1 <= number <= 3:  # after the probe; BrokenBarrierError where fewer come at a time
            together.wait(60)

    with ChatServer(meet, delay=0.05) as server:
        extract(repository, photos, tmp_path / "c.jsonl", server, in_flight=3)
        assert server.most_at_once == 3
    assert summarize(tmp_path / "c.jsonl")["described"] == 6


def test_a_killed_run_goes_on_without_asking_twice(repository, tmp_path):
    data, output = write_photos(tmp_path / "data", 10), tmp_path / "c.jsonl"
    bundle = repository / "bundles" / POLYP
    kept, asked = 7, 1 + 7 + 2  # the probe, those answered, those in flight
    killed = threading.Event()

    def hold_back(number: int, body: dict) -> str | None:
        return "close" if number > kept and killed.wait() else None

    with ChatServer(hold_back) as server:
        command = [sys.executable, "-m", "monai.bundle", "run", "--bundle_root", str(bundle)]
        command += ["--config_file", str(bundle / "configs" / "extract_concepts.yaml")]
        command += ["--dataset_dir", str(data), "--output_file", str(output), "--in_flight", "2"]
        command += ["--base_url", server.url, "--model", "tiny"]
        environment = os.environ | {"PYTHONPATH": str(repository)}
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        while server.count < asked or _answers(output) < kept:
            assert process.poll() is None, "the run ended by itself"
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (server.count, _answers(output)) == (asked, kept)
        with open(output, "ab") as file:  # the worst a kill can leave
            file.write(b'{"kind":"concepts","case":"images/9.png","keyw')
        server.fault = lambda number, body: None
        killed.set()
        extract(repository, data, output, server)
        assert server.count == asked + 1 + 20 - kept
    assert summarize(output)["described"] == 10 and _answers(output) == 20


def _answers(path: Path) -> int:
    """Whole answer lines of a concept file."""
    return sum(b'"kind":"answer"' in t and t.endswith(b"\n") for t in path.open("rb"))


def test_without_a_model_the_mask_alone_is_described(repository, photos, tmp_path):
    extract(repository, photos, tmp_path / "c.jsonl", None, source="@measured_concepts")
    found = load_concepts(tmp_path / "c.jsonl").values()
    assert len(found) == 6
    assert {v.source for d in found for v in d.description.values.values()} == {"measured"}


def test_the_papers_form_is_a_config(repository, photos, tmp_path):
    output = tmp_path / "c.jsonl"
    with ChatServer() as server:
        extract(repository, photos, output, server, overlays=["paper_concepts.yaml"])
        assert server.count == 1 + 6
    values = load_concepts(output)["images/0.png", "polyp"].description.values
    assert set(values) == {"number", "location", "shape", "size", "color"}
    assert {v.source for v in values.values()} == {"model"}


def test_volumes_are_described_label_by_label(repository, tmp_path):
    data = write_volumes(tmp_path / "data", 2)
    with ChatServer() as server:
        extract(repository, data, tmp_path / "c.jsonl", server, bundle=HIPPOCAMPUS)
    found = load_concepts(tmp_path / "c.jsonl")
    assert len(found) == 4
    values = found["images/case_0.nii.gz", "anterior hippocampus"].description.values
    assert values["laterality"].source == "measured" and values["margin"].source == "model"


def test_a_persons_correction_overrides_and_outlives_another_extraction(
    repository, photos, tmp_path
):
    output = tmp_path / "c.jsonl"
    with ChatServer() as server:
        extract(repository, photos, output, server)
        more = {"case": "images/2.png", "values": {"texture": "granular", "color": "reddish"}}
        extract(repository, photos, output, None, "correct", by="reader 1", **more)
        extract(repository, photos, output, server, margin=0.4)
    values = load_concepts(output)["images/2.png", "polyp"].description.values
    assert values["texture"].value == "granular" and values["texture"].source == "person"
    assert values["color"].value == "red" and values["color"].by == "reader 1"
    assert values["margin"].source == "model" and summarize(output)["corrected"] == 1


@pytest.mark.parametrize(
    "case, values, problem",
    [
        ("a.png", {"color": "loud"}, "words for the color"),
        ("a.png", {"texture": "loud"}, "'unclear'"),
        ("b.png", {"color": "red"}, "written like"),
        (None, None, "--case"),
    ],
)
def test_a_correction_that_cannot_be_meant_is_refused(tmp_path, case, values, problem):
    path = tmp_path / "c.jsonl"
    with ConceptFile(path) as file:
        file.append(line(number=1))
    before = path.read_bytes()
    with pytest.raises(ValueError, match=problem):
        correct_concepts(path, case, "polyp", values, lists={"texture": ("smooth",)})
    assert path.read_bytes() == before


def test_only_one_process_writes_a_concept_file(tmp_path):
    with ConceptFile(tmp_path / "c.jsonl"), pytest.raises(BlockingIOError, match="only writer"):
        ConceptFile(tmp_path / "c.jsonl")
    ConceptFile(tmp_path / "c.jsonl").close()


def test_half_a_line_is_cut_off_and_whole_ones_stay(tmp_path):
    path = tmp_path / "c.jsonl"
    with ConceptFile(path) as file:
        file.append(line(number=2))
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])
    assert len(list(read_lines(path))) == 1
    with ConceptFile(path) as file:
        assert list(file.described) == [("a.png", "polyp")]
    assert path.read_bytes() == whole
    path.write_bytes(whole[:-5])
    ConceptFile(path).close()
    assert path.read_bytes() == b""


def test_a_damaged_line_in_the_middle_is_named_and_nothing_is_lost(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_text(line().model_dump_json() + "\n{}\n" + line("b.png").model_dump_json() + "\n")
    with pytest.raises(ValueError, match="line 2"):
        list(read_lines(path))
    with pytest.raises(ValueError, match="line 2"):
        ConceptFile(path)
    assert len(path.read_text().splitlines()) == 3
    path.write_text(line().model_dump_json() + "\n")  # repaired, with the error still at hand
    ConceptFile(path).close()


def test_the_newest_description_counts_and_a_missing_file_is_named(tmp_path):
    with ConceptFile(tmp_path / "c.jsonl") as file:
        file.append(FailureLine(case="a.png", keyword="polyp", reason="x"))
        assert file.failed
        for number in (1, 2):
            file.append(line(number=number))
        assert not file.failed
    found = load_concepts(tmp_path / "c.jsonl")["a.png", "polyp"].description
    assert found.concepts().number == 2
    with pytest.raises(FileNotFoundError, match="extract_concepts"):
        load_concepts(tmp_path / "none.jsonl")


def test_answers_are_remembered_only_until_the_label_is_described(tmp_path):
    answer = {"view": "crop", "model": "m", "prompt_hash": "h", "raw": "{}", "values": {}}
    with ConceptFile(tmp_path / "c.jsonl") as file:
        file.append(AnswerLine(case="a.png", keyword="polyp", answer=answer))
        assert len(file.answers) == 1
        file.append(line())
        assert not file.answers


def test_the_package_needs_no_module_of_one_operating_system(repository):
    modules = re.compile(r"^\s*(?:import|from) (fcntl|termios|resource|pwd|grp|msvcrt)\b", re.M)
    found = {
        path.name: modules.findall(path.read_text(encoding="utf-8"))
        for path in (repository / "conceptseg").rglob("*.py")
    }
    assert len(found) > 100 and not {name: used for name, used in found.items() if used}
