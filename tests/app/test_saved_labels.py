"""What the desk makes of masks that models propose and labels that people save, without a server."""

import json
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from fastapi import HTTPException
from lib import annotations
from lib.desk import Desk
from lib.proposals import Proposals, asked_labels
from lib.renumber import is_foreign, own_values
from lib.store import EXTENSIONS, StudiesFolder, final_pairs
from PIL import Image

FISH = ("head", "tail")


def bundle_of(name: str, keywords: tuple[str, ...], dimension: int) -> SimpleNamespace:
    """What the desk reads of a bundle."""
    labels = {keyword: value for value, keyword in enumerate(keywords, start=1)}
    return SimpleNamespace(name=name, keywords=keywords, labels=labels, dimension=dimension)


def write_label(path, values: np.ndarray) -> str:
    """A label volume on the standard grid."""
    nib.save(nib.Nifti1Image(values.astype(np.uint8), np.eye(4)), path)
    return str(path)


def volume_of(*parts: int) -> np.ndarray:
    """(4, 4, 4) with slabs of the given values along the first axis."""
    volume = np.zeros((4, 4, 4), dtype=np.uint8)
    for slab, value in enumerate(parts):
        volume[slab] = value
    return volume


@pytest.fixture
def store(tmp_path) -> StudiesFolder:
    """A folder with one volume, case_0."""
    folder = tmp_path / "studies"
    folder.mkdir()
    image = np.random.default_rng(0).uniform(0, 100, (4, 4, 4)).astype(np.float32)
    nib.save(nib.Nifti1Image(image, np.eye(4)), folder / "case_0.nii.gz")
    return StudiesFolder(str(folder), extensions=EXTENSIONS, auto_reload=False)


@pytest.fixture
def make_desk(tmp_path):
    """A desk of bundles; their networks are never asked."""

    def make(*bundles) -> Desk:
        inferer = SimpleNamespace(slice_axes=(2,))
        served = {b.name: SimpleNamespace(bundle=b, inferer=inferer) for b in bundles}
        return Desk(served, tmp_path / "rounds")

    return make


@pytest.fixture
def answer(tmp_path):
    """Desk, mask, options -> a model has answered with this mask."""

    def propose(desk, mask, asked=FISH, used="none", model="fish", **options) -> None:
        file = write_label(tmp_path / "answer.nii.gz", mask)
        prompt = {"asked": list(asked), "used": used, "text": None}
        result = {"file": file, "params": {"model_version": "v1", "prompt": prompt}}
        desk.note_proposal({"model": model, "image": "case_0", **options}, result)

    return propose


@pytest.fixture
def save(store, tmp_path):
    """Desk, label, information -> the event in the record, after a person has saved the label."""
    count = iter(range(100))

    def submit(desk, label, **info) -> dict:
        store.save_label("case_0", write_label(tmp_path / "l.nii.gz", label), "final", info)
        store.update_label_info("case_0", "final", {"ts": next(count)})
        submit.answer = desk.label_saved("case_0", store)
        return desk.journal.read()[-1]

    return submit


def test_the_newest_proposal_is_kept(tmp_path):
    file = tmp_path / "mask.png"
    mask = np.zeros((6, 8), dtype=np.uint8)
    mask[1:3, 2:7] = 1
    Image.fromarray(mask).save(file)
    proposals = Proposals(tmp_path / "kept")
    facts = {"bundle": "fish", "version": "v1"}
    proposals.keep("case_1", str(file), facts, {"head": 1})
    for _ in range(2):  # a label may be saved again
        found, said = proposals.of("case_1")
        assert said == facts | {"labels": {"head": 1}} and found.sum() == 10
    Image.fromarray(0 * mask).save(file)
    proposals.keep("case_1", str(file), facts | {"version": "v2"}, {"head": 1})
    found, said = proposals.of("case_1")
    assert said["version"] == "v2" and not found.any()
    assert proposals.of("case_2") is None


def test_a_click_on_one_label_leaves_the_proposal_of_the_other(make_desk, answer, save):
    desk = make_desk(bundle_of("fish", FISH, 3))
    answer(desk, volume_of(1, 0, 2, 2))
    answer(desk, volume_of(1, 1), asked=["head"], used="clicks", model="fish_interactive")
    event = save(desk, volume_of(1, 1, 2, 2))
    assert event["dice"] == {"head": 1.0, "tail": 1.0} and event["mean_dice"] == 1.0
    assert event["proposal"]["model"] == "fish_interactive"


def test_a_label_that_nothing_was_proposed_for_is_not_judged(make_desk, answer, save):
    desk = make_desk(bundle_of("fish", FISH, 3))
    answer(desk, volume_of(1, 1), asked=["head"], used="clicks", model="fish_interactive")
    event = save(desk, volume_of(1, 0, 2, 2))
    assert event["dice"] == {"head": round(2 / 3, 4)}
    assert save.answer["changed"] == event["dice"]


def test_a_new_answer_takes_the_place_of_the_old_one_for_its_label(make_desk, answer, save):
    desk = make_desk(bundle_of("fish", FISH, 3))
    answer(desk, volume_of(1, 1, 2, 0))
    answer(desk, volume_of(0, 0, 0, 2), label="tail")
    event = save(desk, volume_of(1, 1, 0, 2))
    assert event["dice"] == {"head": 1.0, "tail": 1.0}


def test_the_proposal_of_another_bundle_is_neither_kept_nor_compared(make_desk, answer, save):
    desk = make_desk(bundle_of("fish", FISH, 3), bundle_of("bird", ("beak", "wing"), 3))
    answer(desk, volume_of(1, 2))
    answer(desk, volume_of(0, 0, 1), asked=["beak"], used="clicks", model="bird_interactive")
    assert desk.proposals.of("case_0")[1]["labels"] == {"beak": 1}
    event = save(desk, volume_of(1, 2), label_info=[{"name": "head"}, {"name": "tail"}])
    assert event["model"] == "fish" and event["proposal"] is None and event["dice"] is None


@pytest.mark.parametrize(
    ("used", "asked", "option", "expected"),
    [
        ("none", FISH, "all", {"head": 1, "tail": 2}),
        ("none", FISH, ["all", "head", "tail"], {"head": 1, "tail": 2}),
        ("none", FISH, "tail", {"tail": 2}),
        ("concept", ["head"], "tail", {"head": 1}),  # the concept wins
        ("clicks", ["head"], "tail", {"head": 1}),
        ("label_prompt", ["head"], "tail", {"head": 1}),
        ("concept", [], "all", {}),
    ],
)
def test_an_answer_is_about_the_labels_asked_for(used, asked, option, expected):
    params = {"prompt": {"used": used, "asked": list(asked)}}
    assert asked_labels({"label": option}, params, bundle_of("fish", FISH, 3)) == expected


def test_agreement_is_dice_by_label():
    proposed, saved = np.array([1, 1, 2, 0]), np.array([1, 0, 0, 2])
    labels = {"a": 1, "b": 2, "c": 3}
    found = annotations.agreement(proposed, saved, labels)
    assert found == {"a": round(2 / 3, 4), "b": 0.0, "c": 1.0}
    assert annotations.agreement(proposed, saved, {"a": 1}) == {"a": round(2 / 3, 4)}
    assert annotations.agreement(proposed, saved[:2], labels) is None


def test_a_label_drawn_by_hand_belongs_to_the_bundle_whose_names_it_has(make_desk, save):
    desk = make_desk(bundle_of("fish", FISH, 3), bundle_of("bird", ("beak", "wing"), 3))
    slicer = [{"name": n, "idx": i} for i, n in enumerate((*FISH, "beak", "wing"), start=1)]
    event = save(desk, volume_of(0, 3, 4, 4), label_info=slicer)  # Slicer names empty segments too
    assert event["model"] == "bird" and set(event["concepts"]) == {"beak", "wing"}
    assert event["foreground_voxels"] == 48
    assert "wing" in save.answer["concepts"]["wing"]
    event = save(desk, volume_of(1), label_info=[{"name": "Segment_1", "idx": 1}])
    assert event["model"] == "bird"  # as it was saved before


def test_a_label_is_no_image_without_objects_for_the_other_bundles(make_desk, save, store):
    fish, bird = bundle_of("fish", FISH, 3), bundle_of("bird", ("beak", "wing"), 3)
    desk, names = make_desk(fish, bird), (*FISH, "beak", "wing")
    slicer = [{"name": name} for name in (*names, "note")]

    def foreign() -> list[bool]:
        (pair,) = final_pairs(store)
        return [is_foreign(pair["label_info"], bundle, names) for bundle in (fish, bird)]

    save(desk, volume_of(0, 2), label_info=slicer[:4])
    assert foreign() == [False, True]
    assert own_values(final_pairs(store)[0]["label_info"], fish) == {}
    save(desk, volume_of(1, 3, 4), label_info=slicer[:4])  # of both
    assert foreign() == [False, False]
    save(desk, volume_of(), label_info=slicer[:4])  # empty: of neither there is anything
    assert foreign() == [False, False]
    save(desk, volume_of(3, 5), label_info=slicer)
    assert own_values(final_pairs(store)[0]["label_info"], bird) == {3: 1, 4: 2, 5: 0}


def test_the_offer_decides_only_among_the_bundles_whose_names_a_label_has(make_desk, save):
    desk = make_desk(bundle_of("fish", FISH, 3), bundle_of("bird", ("beak", "wing"), 3))
    desk.leases.grant("case_0", "ada", {"strategy": "typical", "model": "fish"})
    event = save(desk, volume_of(1), label_info=[{"name": "Wing", "idx": 1}])
    assert event["model"] == "bird" and event["strategy"] == "typical" and event["client"] == "ada"
    desk.leases.grant("case_0", "ada", {"strategy": "typical", "model": "bird"})
    event = save(desk, volume_of(1), label_info=[{"name": "head"}, {"name": "wing"}])
    assert event["model"] == "fish"  # of the two segments only this one has voxels


def test_a_label_that_cannot_be_measured_is_recorded_all_the_same(make_desk, save, store, caplog):
    desk = make_desk(bundle_of("photo", ("polyp",), 2), bundle_of("fish", FISH, 3))
    event = save(desk, volume_of(1, 1), client_id="ada")  # without names: taken for the first's
    assert (event["event"], event["client"], event["foreground_voxels"]) == ("saved", "ada", 32)
    assert event["concepts"] == {} and "not measured" in caplog.text
    assert save.answer == {"concepts": {}, "changed": None}
    assert desk.labelled_concepts("photo", ["case_0"])["case_0"].max() == -1
    assert "case_0" in desk.page.read_text()
    remark = desk.correct({"concepts": "irregular polyp"}, store, "ada")
    assert "irregular polyp" in remark


def test_the_same_label_is_recorded_once(make_desk, save, store):
    desk = make_desk(bundle_of("fish", FISH, 3))
    save(desk, volume_of(1, 2))
    assert desk.label_saved("case_0", store) == {}
    assert [e["event"] for e in desk.journal.read()] == ["saved"]


def test_corrections_of_a_bundle_that_is_not_served_are_refused(make_desk, save, store):
    save(make_desk(bundle_of("fish", FISH, 3)), volume_of(1, 2), client_id="ada")
    desk = make_desk(bundle_of("bird", ("beak", "wing"), 3))
    with pytest.raises(HTTPException, match="labelled for 'fish'") as error:
        desk.correct({"concepts": "small beak"}, store, "ada")
    assert error.value.status_code == 400


def test_a_correction_lies_beside_the_label_for_training(make_desk, save, store):
    desk = make_desk(bundle_of("fish", FISH, 3))
    save(desk, volume_of(1, 2), client_id="ada", concepts="small head")
    desk.correct({"concepts": ["dark tail"]}, store, "ada")
    info = store.get_label_info("case_0", "final")
    expected = {"head": {"size": "small"}, "tail": {"intensity": "dark"}}
    assert json.loads(info["corrected_concepts"]) == expected
    assert "dark" in info["concepts"]["tail"]
    save(desk, volume_of(1, 2), client_id="ada", concepts="fluffy head")
    assert "fluffy" in save.answer["concepts_problem"]
    assert desk.saved_events()["case_0"]["corrected"] == expected


def test_a_saved_volume_is_measured_in_patient_axes(phantoms, tmp_path):
    keywords = ("anterior hippocampus", "posterior hippocampus")
    bundle = bundle_of("hippocampus", keywords, 3)
    truth = phantoms(tmp_path, [7])["case_7"].copy()
    truth[16:] = 0  # the first axis of the file runs to the left
    image, label = str(tmp_path / "case_7.nii.gz"), str(tmp_path / "label.nii.gz")
    nib.save(nib.Nifti1Image(truth, nib.load(image).affine), label)
    shown, turned = annotations.read_case(annotations.SavedLabel.read(image, label), bundle)
    assert shown.shape[1:] == turned.shape
    found = annotations.measure(shown, turned, bundle, axis=2)
    assert found[keywords[0]]["location"] in ("right", "anterior right")
    assert found[keywords[1]]["location"] in ("right", "posterior right")
    picture = tmp_path / "small" / "case_7.png"
    annotations.write_thumbnail(picture, shown, turned, bundle)
    assert max(Image.open(picture).size) <= 220


def test_a_saved_label_is_read_in_the_values_of_its_bundle(tmp_path):
    bundle = bundle_of("fish", FISH, 2)
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    mask = np.zeros((30, 20, 1), dtype=np.uint8)  # as Slicer sends it: a volume of one slice
    mask[2:8, 12:18] = 1
    label = write_label(tmp_path / "a.nii.gz", mask)
    saved = annotations.SavedLabel.read(str(tmp_path / "a.png"), label, [{"name": "tail"}])
    shown, numbers = annotations.read_case(saved, bundle)
    assert shown.shape[1:] == numbers.shape == (30, 20)
    found = annotations.measure(shown, numbers, bundle, axis=2)
    assert found["tail"]["location"] == "bottom left" and found["head"]["number"] == "0"
