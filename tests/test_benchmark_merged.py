"""Sets merged into one: what the pictures hold, and how generalist and specialists are compared."""

import csv
from pathlib import Path

import numpy as np
import pytest
from phantoms import two_part_volume, write_photos, write_volumes
from PIL import Image

from conceptseg.benchmark.matrix import DataSet, read_matrix
from conceptseg.benchmark.merged import absent_table, compare_by_label, merge_sets
from conceptseg.benchmark.records import RunStore

MATRICES = Path(__file__).parents[1] / "docs" / "benchmarks"


def data_set(name, split, folds=(None,)):
    return DataSet(name, "none", name, split, ("batch_size",), folds=folds)


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    """Three photographs and one to test on; two volumes and one to test on."""
    folder = tmp_path_factory.mktemp("sets")
    write_photos(folder / "photos" / "train", 3)
    write_photos(folder / "photos" / "validation", 1)
    write_volumes(folder / "volumes", 3)
    photos = data_set("photos", {"kind": "folders", "selection": 0.4})
    volumes = data_set("volumes", {"kind": "folds", "count": 3, "selection": 0.5}, folds=(0,))
    merge_sets(folder, folder / "out", folder, [photos, volumes], [1, 2])
    return folder / "out"


def pixels(path):
    return np.asarray(Image.open(path))


def test_every_set_is_written_alone_and_in_the_merged_one(merged):
    counts = {
        (name, part): len(list((merged / name / part / "images").iterdir()))
        for name in ("photos", "volumes", "all")
        for part in ("train", "validation")
    }
    # of twelve slices every fifth: 0, 5, 10
    expected = {("photos", "train"): 3, ("photos", "validation"): 1}
    expected |= {("volumes", "train"): 6, ("volumes", "validation"): 3}
    expected |= {("all", "train"): 9, ("all", "validation"): 4}
    assert counts == expected
    for image in merged.glob("*/*/images/*"):
        assert (image.parents[1] / "masks" / image.name).is_file()


def test_labels_of_the_second_set_follow_those_of_the_first(merged):
    values = {
        folder: {
            value
            for path in (merged / folder / "train" / "masks").glob(pattern)
            for value in np.unique(pixels(path)).tolist()
        }
        for folder, pattern in (("photos", "*"), ("volumes", "*"))
    }
    assert values == {"photos": {0, 255}, "volumes": {0, 1, 2}}
    both = merged / "all" / "train" / "masks"
    assert {v for p in both.glob("photos_*") for v in np.unique(pixels(p)).tolist()} == {0, 1}
    assert {v for p in both.glob("volumes_*") for v in np.unique(pixels(p)).tolist()} == {0, 2, 3}


def test_a_photograph_stays_as_it_is(merged):
    path = merged / "photos" / "train" / "images" / "photos_1.png"
    original = pixels(merged.parent / "photos" / "train" / "images" / "1.png")
    assert (pixels(path) == original).all()


def test_slices_are_square_in_ras_with_their_neighbours_as_colours(merged):
    path = next(merged.glob("volumes/*/images/volumes_case_1_005.png"))
    image, label = pixels(path), pixels(Path(str(path).replace("images", "masks")))
    assert image.shape == (28, 28, 3)
    volume, reference = (a[::-1, ::-1] for a in two_part_volume(1))  # LPS to RAS
    low, high = np.percentile(volume, (0.5, 99.5))
    for channel, index in enumerate((4, 5, 6)):
        shown = np.clip((volume[:, :, index] - low) / (high - low), 0, 1) * 255
        assert np.abs(image[:, 4:24, channel].T - shown).max() <= 0.51
    assert (reference[:, :, 5] == label[:, 4:24].T).all()
    rows = np.arange(28)[:, None] * np.ones((1, 28))
    assert rows[label == 1].min() > rows[label == 2].max(), "anterior lies below posterior"


def test_a_complete_set_is_not_written_again(merged):
    path = merged / "all" / "train" / "images" / "photos_1.png"
    before = path.stat().st_mtime_ns
    photos = data_set("photos", {"kind": "folders", "selection": 0.4})
    merge_sets(merged.parent, merged, merged, [photos], [1])
    assert path.stat().st_mtime_ns == before


def write_run(store, name, seed, dice=(), absent=()):
    """One run: rows (case, label, shown, Dice), and rows (label, set, prompt, silent) of the analysis."""
    key = f"{name}/ours/seed{seed}"
    record = {"key": key, "status": "done", "data_set": name, "contestant": "ours", "seed": seed}
    store.write(key, record)
    tables = {
        "cases.csv": (("case", "label", "presence_true", "dice", "condition"), dice),
        "absence.csv": (("label", "set", "prompt", "silent"), absent),
    }
    for file, (header, rows) in tables.items():
        with open(store.folder(key) / file, "w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([header, *rows])


def test_only_cases_that_show_the_label_are_compared(tmp_path):
    store = RunStore(tmp_path)
    for seed in (0, 1):
        shown = [(f"photos_{i}", "disc", True, 0.6, "text_free") for i in range(4)]
        other = [("volumes_1", "disc", False, 1.0, "text_free")]
        write_run(store, "all", seed, dice=shown + other)
        own = [(f"photos_{i}", "disc", True, 0.5 + 0.02 * seed, "text_free") for i in range(4)]
        write_run(store, "photos", seed, dice=[*own, ("photos_9", "disc", False, 0, "text_free")])
    header, rows = compare_by_label(store, "ours")
    assert header[:4] == ["Label", "Condition", "Generalist", "Specialist"]
    expected = ["disc", "text free", "0.600 (0.600 to 0.600)", "0.510 (0.500 to 0.520)"]
    assert rows == [[*expected, "+0.090 [+0.080, +0.100]"]]


def test_absent_labels_are_counted_in_whole_images_alone(tmp_path):
    store = RunStore(tmp_path)
    rows = [("disc", "whole", kind, True) for kind in ("text_free", "keyword") for _ in range(3)]
    rows += [("disc", "whole", "keyword", False), ("disc", "whole", "text_free", True)]
    rows += [("disc", "part", "keyword", False)] * 5
    write_run(store, "all", 0, absent=rows)
    write_run(store, "photos", 0, absent=[("disc", "whole", "keyword", False)])
    _, table = absent_table(store, "ours")
    assert table == [["disc", "4", "1.000", "0.750"]]


def test_the_generalists_keywords_are_the_specialists_in_their_order():
    sets = dict(read_matrix(MATRICES / "generalist.yaml").data_sets)
    everything = sets.pop("all")
    own = [keyword for d in sets.values() for keyword in d.settings["keywords"]]
    assert everything.settings["keywords"] == own
    assert everything.budgets["images"] == sum(d.budgets["images"] for d in sets.values())
    assert list(sets) == [n for n in read_matrix(MATRICES / "cpu.yaml").data_sets if n in sets]
