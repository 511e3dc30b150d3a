"""The way of a person through the server, with MONAI Label's client, noted step by step."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import requests
from monailabel.client import MONAILabelClient

TASK_SECONDS = 900  # a busy computer
STRATEGIES = ("random", "first", "uncertainty")


@dataclass
class Setting:
    """What differs between the kinds of studies.

    Attributes:
        title: for the transcript.
        server: with `url`, `start` and `stop`.
        client: MONAI Label's.
        model: bundle name.
        images: names of the studies; the last one is never labelled.
        shape: of every image, as `read` gives a mask.
        read: mask file to array.
        label_file: image name -> file of its true label map.
        concept: a prompt and the values its mask may hold.
        clicks: request of the interactive model and a place of the mask that it must mark.
        session_file: image file on the client's computer, same content as the last image.
    """

    title: str
    server: Any
    client: MONAILabelClient
    model: str
    images: list[str]
    shape: tuple[int, ...]
    read: Callable[[str], np.ndarray]
    label_file: Callable[[str], str]
    concept: tuple[str, set[int]]
    clicks: tuple[dict[str, Any], tuple[int, ...]]
    session_file: str


@dataclass
class Transcript:
    """Steps and whether each went well."""

    title: str
    lines: list[str] = field(default_factory=list)
    failed: int = 0

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[list[str]]:
        """Note a step; what the block puts into the list is noted with it. Errors are noted, not raised."""
        remarks: list[str] = []
        start = time.monotonic()
        try:
            yield remarks
        except Exception as error:
            self.failed += 1
            remarks = [f"{type(error).__name__}: {error}"]
            mark = "FAIL"
        else:
            mark = "pass"
        seconds = time.monotonic() - start
        self.lines.append(f"{mark} {seconds:6.1f} s  {name}  {'; '.join(remarks)}".rstrip())

    def summary(self) -> str:
        """Title and pass count."""
        return f"{self.title}: {len(self.lines) - self.failed} of {len(self.lines)} steps passed"

    def text(self) -> str:
        """The whole transcript."""
        return "\n".join([self.title, *self.lines, self.summary()]) + "\n"


def digest(mask: np.ndarray) -> str:
    """Short fingerprint of a mask."""
    return hashlib.sha1(np.ascontiguousarray(mask)).hexdigest()[:8]


def wait_for(url: str, during: Callable[[], None] | None = None) -> dict[str, Any]:
    """Wait for the background task at `url`, calling `during` meanwhile; gives its last status."""
    deadline = time.monotonic() + TASK_SECONDS
    while time.monotonic() < deadline:
        status = requests.get(url, timeout=60).json()
        if status.get("status") in ("DONE", "ERROR", "STOPPED"):
            assert status["status"] == "DONE", "\n".join(status["details"])
            return status
        if during is not None:
            during()
        time.sleep(0.3)
    raise TimeoutError(f"{url} did not end")


def walk(setting: Setting) -> Transcript:
    """Annotate, train, and start again; gives the transcript."""
    notes = Transcript(setting.title)
    _look_around(setting, notes)
    _segment(setting, notes)
    _save(setting, notes)
    _train(setting, notes)
    _batch(setting, notes)
    _restart(setting, notes)
    return notes


def _infer(setting: Setting, image: str, params: dict, model: str = "", **more) -> tuple:
    """Mask and answer."""
    path, answer = setting.client.infer(model or setting.model, image, params, **more)
    return setting.read(path), answer


def _look_around(setting: Setting, notes: Transcript) -> None:
    """Info and next samples."""
    with notes.step("info") as remark:
        info = setting.client.info()
        assert {setting.model, f"{setting.model}_interactive"} <= set(info["models"])
        assert setting.model in info["trainers"] and set(STRATEGIES) <= set(info["strategies"])
        remark.append(f"models {', '.join(info['models'])}; labels {', '.join(info['labels'])}")
    for strategy in STRATEGIES:
        with notes.step(f"next sample: {strategy}") as remark:
            remark.append(setting.client.next_sample(strategy, {})["id"])
            assert remark[0] in setting.images


def _segment(setting: Setting, notes: Transcript) -> None:
    """Masks without and with prompts, and of a volume from the client's own disk."""
    image = setting.images[-1]
    free = None
    with notes.step("infer text-free") as remark:
        free, answer = _infer(setting, image, {})
        assert free.shape == setting.shape and free.any()
        remark.append(f"mask {digest(free)}, {answer['latencies']['total']} s")
    with notes.step("the same request again gives the same mask") as remark:
        again, answer = _infer(setting, image, {})
        assert digest(again) == digest(free) and answer["encoder_cached"]
        remark.append(f"encoded image reused, {answer['latencies']['total']} s")
    prompt, allowed = setting.concept
    with notes.step(f"infer with concept {prompt!r}") as remark:
        mask, answer = _infer(setting, image, {"concept": prompt})
        assert answer["prompt"]["used"] == "concept" and set(np.unique(mask)) <= allowed | {0}
        assert mask.any()
        remark.append(f"values {sorted(int(v) for v in np.unique(mask))}")
    clicks, place = setting.clicks
    with notes.step("infer from a click") as remark:
        mask, answer = _infer(setting, image, clicks, f"{setting.model}_interactive")
        assert mask[place]
        remark.append(next(iter(answer["roi_concepts"].values())))
    with notes.step("session volume") as remark:
        session = setting.client.create_session(setting.session_file)["session_id"]
        mask, _ = _infer(setting, "", {}, session_id=session)
        assert mask.shape == setting.shape and mask.any()
        assert setting.client.get_session(session)
        setting.client.remove_session(session)
        remark.append(f"mask {digest(mask)}")


def _save(setting: Setting, notes: Transcript) -> None:
    """Save labels, count them, score them."""
    client, labelled = setting.client, setting.images[:-1]
    names = list(client.info()["models"][setting.model]["labels"])
    info = [{"name": name, "idx": i} for i, name in enumerate(names, start=1)]
    for image in labelled:
        with notes.step(f"save label of {image[-24:]}"):
            client.save_label(image, setting.label_file(image), "final", {"label_info": info})
    with notes.step("labelled studies are counted and not offered again") as remark:
        counted = client.info()["datastore"]
        assert counted["completed"] == len(labelled) == counted["total"] - 1, counted
        assert {client.next_sample(s, {})["id"] for s in STRATEGIES} == {setting.images[-1]}
        remark.append(f"{counted['completed']} of {counted['total']}")
    with notes.step("scoring: dice of the model against the saved labels") as remark:
        requests.post(f"{setting.server.url}/scoring/dice", json={}, timeout=60).raise_for_status()
        wait_for(f"{setting.server.url}/scoring/")
        stored = client.datastore()["objects"][labelled[0]]["labels"]["final"]["info"]["score"]
        assert all(0.5 < value <= 1 for value in stored["dice"].values()), stored
        remark.append(str(stored["dice"]))


def _train(setting: Setting, notes: Transcript) -> None:
    """Two epochs, segmenting meanwhile."""
    client, image = setting.client, setting.images[-1]
    with notes.step("train two epochs while segmenting") as remark:
        before = _infer(setting, image, {})[1]["model_version"]
        client.train_start(setting.model, {"max_epochs": 2})
        seen: list[tuple[str, str]] = []

        def infer() -> None:
            mask, answer = _infer(setting, image, {})
            seen.append((answer["model_version"], digest(mask)))

        wait_for(f"{setting.server.url}/train/", infer)
        infer()
        stats = client.info()["train_stats"][setting.model]
        assert stats["epoch"] == stats["total_epochs"] == 2 and stats["total_time"] > 0, stats
        assert 0 <= stats["best_metric"] <= 1
        assert len(dict(seen)) == len(set(seen)), "one version of the weights gave two masks"
        remark.append(f"{len(seen)} masks meanwhile; Dice before {stats['metric_before']:.3f},")
        remark.append(f"best {stats['best_metric']:.3f}; published {stats['published']}")
    with notes.step("weights are published only when they are not worse") as remark:
        history = setting.server.log.parent / "model" / setting.model / "history"
        if stats["published"]:
            assert stats["best_metric"] >= stats["metric_before"] - 1e-3
            assert seen[-1][0] != before and list(history.glob("*.pt"))
        else:
            assert stats["best_metric"] <= stats["metric_before"] + 1e-3
            assert {version for version, _ in seen} == {before}
        remark.append("served without restart" if stats["published"] else "the old ones stay")


def _batch(setting: Setting, notes: Transcript) -> None:
    """Batch inference that stops after two studies and goes on."""
    url = f"{setting.server.url}/batch/infer"
    body = {"device": "cpu", "multi_gpu": True, "max_batch_size": 2}

    def run() -> dict[str, Any]:
        requests.post(f"{url}/{setting.model}", json=body, timeout=60).raise_for_status()
        wait_for(url)
        objects = setting.client.datastore()["objects"]
        labels = {name: objects[name]["labels"].get("original") for name in setting.images}
        return {name: label["info"]["ts"] for name, label in labels.items() if label}

    with notes.step("batch inference of two studies") as remark:
        first = run()
        assert len(first) == 2
        remark.append(", ".join(name[-12:] for name in first))
    with notes.step("batch inference goes on with the others") as remark:
        body["max_batch_size"] = 0
        second = run()
        assert set(second) == set(setting.images)
        assert all(second[name] == stamp for name, stamp in first.items())
        remark.append(f"{len(second) - len(first)} more")


def _restart(setting: Setting, notes: Transcript) -> None:
    """Stop, start, compare."""

    def state() -> tuple:
        objects = setting.client.datastore()["objects"]
        labels = {name: sorted(objects[name]["labels"]) for name in setting.images}
        mask, _ = _infer(setting, setting.images[-1], {})
        return digest(mask), labels, setting.client.info()["train_stats"]

    with notes.step("everything is there after a restart") as remark:
        before = state()
        setting.server.stop()
        setting.server.start()
        after = state()
        assert after == before, f"{before} became {after}"
        remark.append(f"mask {after[0]}, labels of {len(after[1])} studies, training figures")


def write(transcript: Transcript, folder: Path) -> Path:
    """Keep a transcript as a file."""
    path = folder / f"walk_{transcript.title.split()[0].lower()}.txt"
    path.write_text(transcript.text(), encoding="utf-8")
    return path
