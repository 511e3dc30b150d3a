"""Every official layout, built in miniature, becomes a data set to train on; nothing odd is hidden."""

import csv
import json
import runpy
import shutil
import sys
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import nibabel
import numpy as np
import pytest
from miniature_datasets import MINIATURES, block, picture, save, write_medvlsm_split
from PIL import Image

from conceptseg.concepts import Concepts
from conceptseg.datalist import load_datalist
from conceptseg.datasets import card_names, load_card
from conceptseg.datasets import prepare as prepare_module
from conceptseg.datasets.prepare import prepare_dataset
from conceptseg.datasets.sections import read_split_files

ALL = [(name, builder) for name, builders in MINIATURES.items() for builder in builders]
SECTIONS = ("training", "validation", "testing")


def contents(folder: Path) -> dict[str, bytes]:
    """File name -> content of everything below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def read_label(path: str) -> np.ndarray:
    """(W, H) or (X, Y, Z) of a prepared mask."""
    if path.endswith(".png"):
        return np.asarray(Image.open(path)).T
    return np.asarray(nibabel.load(path).dataobj)


def lines_of(path: Path) -> list[dict]:
    """The lines of a JSONL file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def concepts_of(line: dict) -> Concepts:
    """The concepts that a line of a concept file describes."""
    values = line["description"]["values"]
    assert {value["source"] for value in values.values()} == {"measured"}
    return Concepts(
        keyword=line["keyword"], **{name: value["value"] for name, value in values.items()}
    )


def test_every_card_has_a_miniature():
    assert sorted(MINIATURES) == card_names()


@pytest.mark.parametrize("name, builder", ALL, ids=[builder.__name__ for _, builder in ALL])
def test_an_official_layout_is_prepared(tmp_path, name, builder):
    source, out = tmp_path / "source", tmp_path / "out"
    expected = builder(source)
    before, card = contents(source), load_card(name)
    done = prepare_dataset(card, source, out)
    assert contents(source) == before
    cases = done.report["cases"]
    assert {c["name"]: c["sizes"] for c in cases if "sizes" in c} == expected.sizes
    sections = {s: load_datalist(out, s) for s in SECTIONS}
    assert {s: len(v) for s, v in sections.items()} == expected.sections
    odd = Counter(o.kind for o in done.oddities if o.kind != "count")
    assert odd == Counter(expected.oddities) + Counter()
    suffixes = (".png", ".jpg", ".jpeg") if card.form == "picture" else (".nii.gz",)
    for case in (case for cases in sections.values() for case in cases):
        assert case["image"].endswith(suffixes)
        label = read_label(case["label"])
        if len(card.keywords) == 1:
            assert set(np.unique(label)) <= {0, 255}
            label = (label > 0).astype(np.uint8)
        counts = np.bincount(label.ravel(), minlength=len(card.keywords) + 1)[1:]
        assert counts.tolist() == expected.sizes[Path(case["label"]).name.split(".")[0]]


@pytest.mark.parametrize("name, builder", ALL, ids=[builder.__name__ for _, builder in ALL])
def test_groups_stay_in_one_section_and_concepts_are_measured(tmp_path, name, builder):
    builder(tmp_path / "source")
    card = load_card(name)
    out = tmp_path / "out"
    done = prepare_dataset(card, tmp_path / "source", out)
    used = {case["image"]: case for case in done.report["cases"] if "sizes" in case}
    sections: dict[str, set] = {}
    for section in SECTIONS:
        for case in load_datalist(out, section):
            group = used[f"images/{Path(case['image']).name}"]["group"]
            sections.setdefault(group, set()).add(section)
    assert {len(found) for found in sections.values()} == {1}
    lines = lines_of(out / "concepts.jsonl")
    assert [(x["case"], x["keyword"]) for x in lines] == [
        (image, keyword) for image in used for keyword in card.keywords
    ]
    for line in lines:
        size = used[line["case"]]["sizes"][card.keywords.index(line["keyword"])]
        assert (line["fraction"] > 0) == (size > 0)
        concepts = concepts_of(line)
        assert (concepts.number > 0) == (size > 0)
        if size:
            assert (concepts.color is not None) == card.color
            assert (concepts.intensity is None) == card.color
            assert concepts.location and concepts.size


def test_several_mask_files_become_several_objects(tmp_path):
    MINIATURES["busi"][0](tmp_path / "source")
    prepare_dataset(load_card("busi"), tmp_path / "source", tmp_path / "out")
    lines = lines_of(tmp_path / "out" / "concepts.jsonl")
    found = {Path(line["case"]).stem: concepts_of(line) for line in lines}
    assert found["3_benign"].number == 3
    assert found["1_benign"].location == "top left"
    assert found["1_normal"].number == 0


def test_a_dicom_series_and_its_pngs_meet_at_the_right_height(tmp_path):
    MINIATURES["chaos"][0](tmp_path / "source")
    prepare_dataset(load_card("chaos"), tmp_path / "source", tmp_path / "out")
    for case in ("T1_in_1", "T2_1"):  # files run upwards, downwards
        image = nibabel.load(tmp_path / "out" / "images" / f"{case}.nii.gz")
        label = nibabel.load(tmp_path / "out" / "masks" / f"{case}.nii.gz")
        assert np.allclose(image.affine, label.affine)
        values = np.asarray(label.dataobj)
        for value, heights in ((1, (105.5, 116.5)), (3, (100.0, 100.0)), (4, (127.5, 127.5))):
            voxels = np.argwhere(values == value)
            world = nibabel.affines.apply_affine(label.affine, voxels)
            assert np.allclose((world[:, 2].min(), world[:, 2].max()), heights)
        # the picture's left is x = -20 mm in LPS, the patient's right: 20 mm to the right in RAS
        liver = nibabel.affines.apply_affine(label.affine, np.argwhere(values == 1))
        assert np.allclose(liver[:, 0].max(), 20 - 2 * 1.5)
    lines = lines_of(tmp_path / "out" / "concepts.jsonl")
    mine = [line for line in lines if line["case"] == "images/T2_1.nii.gz"]
    organs = {line["keyword"]: concepts_of(line) for line in mine}
    assert organs["liver"].laterality == organs["right kidney"].laterality == "right"
    assert organs["spleen"].laterality == "left" and organs["spleen"].level == "superior"


def test_frames_keep_values_and_position(tmp_path):
    MINIATURES["acdc"][0](tmp_path / "source")
    prepare_dataset(load_card("acdc"), tmp_path / "source", tmp_path / "out")
    original = tmp_path / "source/database/training/patient003/patient003_frame01.nii.gz"
    image = tmp_path / "out/images/patient003_frame01.nii.gz"
    assert image.read_bytes() == original.read_bytes()
    label = nibabel.load(tmp_path / "out/masks/patient003_frame01.nii.gz")
    assert np.allclose(label.affine, nibabel.load(original).affine)  # its own header was shifted


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_an_archive_is_read_as_it_comes(tmp_path, kind):
    expected = MINIATURES["busi"][0](tmp_path / "unpacked")
    archive = tmp_path / f"archive.{kind}"
    shutil.make_archive(
        str(tmp_path / "archive"), {"tar.gz": "gztar"}.get(kind, kind), tmp_path / "unpacked"
    )
    before = archive.read_bytes()
    done = prepare_dataset(load_card("busi"), archive, tmp_path / "out")
    assert {c["name"]: c["sizes"] for c in done.report["cases"]} == expected.sizes
    assert archive.read_bytes() == before
    assert not (tmp_path / "out" / ".source").exists()


def test_a_folder_of_archives_is_read_as_it_comes(tmp_path):
    expected = MINIATURES["isic"][0](tmp_path / "unpacked")
    source = tmp_path / "downloads"
    source.mkdir()
    for folder in (tmp_path / "unpacked").iterdir():
        shutil.make_archive(str(source / folder.name), "zip", tmp_path / "unpacked", folder.name)
    done = prepare_dataset(load_card("isic"), source, tmp_path / "out")
    assert {c["name"]: c["sizes"] for c in done.report["cases"] if "sizes" in c} == expected.sizes


def test_archives_that_would_write_elsewhere_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("../escaped.txt", "x")
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        (tmp_path / "x").write_text("x")
        archive.add(tmp_path / "x", arcname="/tmp/escaped.txt", filter=lambda i: _absolute(i))
    for name in ("bad.zip", "bad.tar"):
        with pytest.raises(ValueError, match="escaped"):
            prepare_dataset(load_card("busi"), tmp_path / name, tmp_path / f"out_{name}")
    assert not (tmp_path / "escaped.txt").exists()


def _absolute(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """The member with a path that leaves its folder."""
    info.name = "../escaped.txt"
    return info


def test_a_killed_run_goes_on_and_gives_the_same(tmp_path, monkeypatch):
    MINIATURES["camus"][0](tmp_path / "source")
    card = load_card("camus")
    whole = prepare_dataset(card, tmp_path / "source", tmp_path / "whole")
    converted = []

    def failing(converter, case, *rest):
        if len(converted) == 7:
            raise KeyboardInterrupt
        converted.append(case.name)
        return real(converter, case, *rest)

    real = prepare_module._prepare_case
    monkeypatch.setattr(prepare_module, "_prepare_case", failing)
    with pytest.raises(KeyboardInterrupt):
        prepare_dataset(card, tmp_path / "source", tmp_path / "killed")
    assert not (tmp_path / "killed" / "dataset.json").exists()
    with open(tmp_path / "killed" / ".cases.jsonl", "a") as journal:
        journal.write('{"name": "patient0003_2CH_ED", "sec')  # the kill came while writing
    again = []
    monkeypatch.setattr(
        prepare_module,
        "_prepare_case",
        lambda converter, case, *rest: again.append(case.name) or real(converter, case, *rest),
    )
    done = prepare_dataset(card, tmp_path / "source", tmp_path / "killed")
    assert not set(again) & set(converted) and len(again) + 7 == len(whole.report["cases"])
    assert done.report["counts"] == whole.report["counts"]
    for name in ("dataset.json", "concepts.jsonl"):
        assert (tmp_path / "killed" / name).read_text() == (tmp_path / "whole" / name).read_text()
    again.clear()
    with open(tmp_path / "killed" / "concepts.jsonl", "a") as concepts:
        concepts.write('{"kind": "correction"}\n')  # a later source adds to the concept file
    third = prepare_dataset(card, tmp_path / "source", tmp_path / "killed")
    assert again == [] and third.oddities == done.oddities
    assert "correction" in (tmp_path / "killed" / "concepts.jsonl").read_text()
    next((tmp_path / "killed" / "masks").iterdir()).unlink()
    prepare_dataset(card, tmp_path / "source", tmp_path / "killed")
    assert len(again) == 1


def test_a_kill_while_unpacking_leaves_no_half_file(tmp_path):
    MINIATURES["busi"][0](tmp_path / "unpacked")
    archive = Path(shutil.make_archive(str(tmp_path / "busi"), "zip", tmp_path / "unpacked"))

    def killed(items, what):
        for i, item in enumerate(items):
            if i == 9:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        prepare_dataset(load_card("busi"), archive, tmp_path / "out", progress=killed)
    whole = contents(tmp_path / "unpacked")
    left = contents(tmp_path / "out" / ".source" / "busi")
    assert left and all(whole[name] == content for name, content in left.items())
    done = prepare_dataset(load_card("busi"), archive, tmp_path / "out")
    assert done.report["counts"]["cases"] == 10


def test_another_data_set_or_foreign_files_are_not_overwritten(tmp_path):
    MINIATURES["busi"][0](tmp_path / "busi")
    MINIATURES["glas"][0](tmp_path / "glas")
    prepare_dataset(load_card("busi"), tmp_path / "busi", tmp_path / "out")
    with pytest.raises(ValueError, match="'busi'"):
        prepare_dataset(load_card("glas"), tmp_path / "glas", tmp_path / "out")
    shutil.copytree(tmp_path / "busi", tmp_path / "copy")
    with pytest.raises(ValueError, match="this source"):
        prepare_dataset(load_card("busi"), tmp_path / "copy", tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("x")
    with pytest.raises(ValueError, match="empty output folder"):
        prepare_dataset(load_card("busi"), tmp_path / "busi", tmp_path / "full")
    for out in (tmp_path / "busi", tmp_path / "busi" / "out", tmp_path):
        with pytest.raises(ValueError, match="apart from the source"):
            prepare_dataset(load_card("busi"), tmp_path / "busi", out)


def test_a_wrong_source_says_what_was_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        prepare_dataset(load_card("busi"), tmp_path / "absent", tmp_path / "out")
    save(tmp_path / "photos" / "a.png", picture(0))
    with pytest.raises(ValueError, match="Dataset_BUSI_with_GT"):
        prepare_dataset(load_card("busi"), tmp_path / "photos", tmp_path / "out1")
    MINIATURES["busi"][0](tmp_path / "busi")  # the next try may use the same output folder
    done = prepare_dataset(load_card("busi"), tmp_path / "busi", tmp_path / "out1")
    assert done.report["counts"]["cases"] == 10
    (tmp_path / "CVC-ClinicDB.rar").write_bytes(b"Rar!")
    with pytest.raises(ValueError, match="Unpack it"):
        prepare_dataset(load_card("cvc_clinicdb"), tmp_path / "CVC-ClinicDB.rar", tmp_path / "out2")
    (tmp_path / "cut.zip").write_bytes(b"PK\3\4 cut off")
    with pytest.raises(ValueError, match="Download it again"):
        prepare_dataset(load_card("busi"), tmp_path / "cut.zip", tmp_path / "out3")


def test_public_split_files_are_followed(tmp_path):
    MINIATURES["busi"][0](tmp_path / "source")
    lists = {
        "train": ["1_benign.png", "2_benign.png", "1_normal.png"],
        "val": ["3_benign.png"],
        "test": ["1_malignant.png", "40_malignant.png"],
    }
    split = read_split_files(write_medvlsm_split(tmp_path / "anns", lists))
    done = prepare_dataset(load_card("busi"), tmp_path / "source", tmp_path / "out", split)
    names = {
        s: {Path(c["image"]).name for c in load_datalist(tmp_path / "out", s)} for s in SECTIONS
    }
    assert names == {
        "training": set(lists["train"]),
        "validation": set(lists["val"]),
        "testing": {"1_malignant.png"},
    }
    texts = [o.text for o in done.oddities if o.kind == "split"]
    assert any("40_malignant" in t for t in texts) and any("left out" in t for t in texts)


def test_split_files_of_other_kinds_are_read(tmp_path):
    (tmp_path / "csv").mkdir()
    for name in ("train", "val", "test"):
        (tmp_path / "csv" / f"{name}_data.csv").write_text(
            f"dataset,img_name,mask_name\nx,{name}.jpg,m\n"
        )
    (tmp_path / "txt").mkdir()
    for name in ("train", "val", "test"):
        (tmp_path / "txt" / f"{name}.txt").write_text(f"{name}\n\n")
    (tmp_path / "one.json").write_text(
        '{"training": ["train"], "validation": ["val.png"], "testing": ["test"]}'
    )
    for path in ("csv", "txt", "one.json"):
        split = read_split_files(tmp_path / path)
        assert split == {"training": ["train"], "validation": ["val"], "testing": ["test"]}
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match=r"train\.json"):
        read_split_files(tmp_path / "none")


def test_a_drawn_split_is_the_same_every_time_and_follows_the_seed(tmp_path):
    MINIATURES["bkai_igh"][0](tmp_path / "source")
    card, tests = load_card("bkai_igh"), []
    for i, seed in enumerate((0, 0, 1, 2, 3)):
        prepare_dataset(card, tmp_path / "source", tmp_path / f"out{i}", seed=seed)
        tests.append(load_datalist(tmp_path / f"out{i}", "testing")[0]["image"].split("/")[-1])
    assert tests[0] == tests[1] and len(set(tests)) > 1


def test_a_card_of_ones_own_tells_red_from_green(tmp_path):
    MINIATURES["bkai_igh"][0](tmp_path / "source")
    original = Path(prepare_module.__file__).parent / "cards" / "bkai_igh.yaml"
    text = original.read_text().replace(
        "keywords: [polyp]", "keywords: [neoplastic polyp, other polyp]"
    )
    (tmp_path / "two_polyps.yaml").write_text(
        text.replace("{red: 1, green: 1}", "{red: 1, green: 2}")
    )
    card = load_card(str(tmp_path / "two_polyps.yaml"))
    done = prepare_dataset(card, tmp_path / "source", tmp_path / "out")
    sizes = {c["name"][-1]: c["sizes"] for c in done.report["cases"]}
    assert sizes["0"] == [128, 0] and sizes["1"] == [128, 128]


def test_copies_of_an_image_in_two_sections_are_told(tmp_path):
    source = tmp_path / "source"
    for i in range(10):
        save(source / f"TIF/Original/{i}.tif", picture(i // 2))
        save(source / f"TIF/Ground Truth/{i}.tif", block(0, 0, 4, 4) * np.uint8(255))
    done = prepare_dataset(load_card("cvc_clinicdb"), source, tmp_path / "out")
    texts = [o.text for o in done.oddities if o.kind == "duplicate_image"]
    assert len(texts) == 5 and any("testing" in text for text in texts)


def run_script(script: Path, monkeypatch, *arguments: str) -> int:
    """Run a script as the command line does, in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", [str(script), *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    return ended.value.code


def test_the_command_prepares_and_reports(tmp_path, repository, monkeypatch, capfd):
    MINIATURES["glas"][0](tmp_path / "source")
    script = repository / "scripts" / "prepare_dataset.py"
    places = (str(tmp_path / "source"), str(tmp_path / "out"))
    assert run_script(script, monkeypatch, "GlaS", *places) == 0
    said = capfd.readouterr()
    assert "13 cases, 9 training, 1 validation, 3 testing; gland in 13" in said.out
    assert "expected 165 cases, got 13" in said.out
    assert "--dataset_card GlaS" in said.out
    assert "preparing GlaS: 100%" in said.err and "13/13" in said.err
    assert run_script(script, monkeypatch, "no_such_set", *places) == 1
    assert "busi" in capfd.readouterr().err
    assert run_script(script, monkeypatch, "--describe", "busi") == 0
    assert "breast tumor" in capfd.readouterr().out


def test_real_images_in_the_official_layout_are_prepared(shared_data, tmp_path):
    with open(shared_data / "kvasir" / "concepts.csv", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["kvasir_id"]]
    source = tmp_path / "Kvasir-SEG"
    for row in rows[:60]:
        for kind in ("images", "masks"):
            (source / kind).mkdir(parents=True, exist_ok=True)
            original = _shared_file(shared_data / "kvasir", row, kind)
            shutil.copy(original, source / kind / f"{Path(row['kvasir_id']).stem}.jpg")
    done = prepare_dataset(load_card("kvasir_seg"), source, tmp_path / "out")
    assert done.report["counts"]["cases"] == 60
    assert done.report["cases_with_label"] == {"polyp": 60}
    listed = load_card("kvasir_seg").packaged_split()
    names = {Path(case["image"]).stem for case in load_datalist(tmp_path / "out", "testing")}
    assert names and names <= set(listed["testing"])


def _shared_file(folder: Path, row: dict, kind: str) -> Path:
    """The image or mask of a row of the kit's table."""
    return folder / row["image"].replace("images/", f"{kind}/")
