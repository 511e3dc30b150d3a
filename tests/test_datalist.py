"""Images and pairs are found in every documented layout, and a split stays the same for good."""

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image

from conceptseg.datalist import (
    check_labels_present,
    find_images,
    folder_datalist,
    image_datalist,
    load_datalist,
)


def write_picture(path, value=0):
    """Save a 3x2 grey picture of one value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (3, 2), value).save(path)


def write_pairs(folder, stems, images="images", masks="masks", mask_name="{}.png"):
    """Save a picture and a mask per stem."""
    for stem in stems:
        write_picture(folder / images / f"{stem}.jpg")
        write_picture(folder / masks / mask_name.format(stem), 255)


def write_dicom_header(path, series):
    """Save a DICOM file without pixels; finding needs its header only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = pydicom.Dataset()
    header.file_meta = pydicom.dataset.FileMetaDataset()
    header.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    header.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    header.SeriesInstanceUID = series
    header.is_little_endian, header.is_implicit_VR = True, False
    pydicom.dcmwrite(path, header, write_like_original=False)


def names(cases, key="image"):
    """The file names of the cases."""
    return [case[key].rsplit("/", 1)[-1] for case in cases]


def test_images_of_all_kinds_are_found_and_other_files_ignored(tmp_path):
    for name in ("b.PNG", "a.jpeg", "sub/c.bmp", ".hidden.png", ".cache/d.png"):
        write_picture(tmp_path / name)
    (tmp_path / "v.nii.gz").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    found = [path.removeprefix(f"{tmp_path}/") for path in find_images(tmp_path)]
    assert found == ["a.jpeg", "b.PNG", "sub/c.bmp", "v.nii.gz"]


def test_a_dicom_series_folder_is_one_case(tmp_path):
    for index in range(3):
        write_dicom_header(tmp_path / "patient" / "t1" / f"{index}.dcm", "1.1")
        write_dicom_header(tmp_path / "patient" / "t2" / f"IM{index}", "1.2")
    assert find_images(tmp_path) == [str(tmp_path / "patient" / name) for name in ("t1", "t2")]
    assert len(find_images(tmp_path, spatial_dims=2)) == 6


def test_dicom_pictures_of_different_series_are_cases_of_their_own(tmp_path):
    for index in range(3):
        write_dicom_header(tmp_path / f"{index}.dcm", f"1.{index}")
    assert len(find_images(tmp_path)) == 3


def test_a_folder_that_mixes_series_is_refused(tmp_path):
    for index in range(4):
        write_dicom_header(tmp_path / f"{index}.dcm", f"1.{index // 2}")
    with pytest.raises(ValueError, match="2 series in 4 files"):
        find_images(tmp_path)


def test_a_damaged_dicom_file_is_named(tmp_path):
    write_dicom_header(tmp_path / "a.dcm", "1.1")
    (tmp_path / "b.dcm").write_text("no DICOM")
    with pytest.raises(ValueError, match=r"b\.dcm"):
        find_images(tmp_path)


def test_an_empty_folder_is_refused_with_the_patterns(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match=r"got none.*\*\.png.*\*\.nii\.gz"):
        find_images(tmp_path)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        find_images(tmp_path / "nowhere")


def test_an_unlabelled_file_or_folder_is_a_datalist_of_images(tmp_path):
    write_picture(tmp_path / "a.png")
    assert image_datalist(tmp_path) == image_datalist(tmp_path / "a.png")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match=r"notes\.txt"):
        image_datalist(tmp_path / "notes.txt")


@pytest.mark.parametrize(
    ("images", "masks"),
    [("images", "masks"), ("images", "labels"), ("imagesTr", "labelsTr"), ("image", "mask")],
)
def test_flat_layouts_are_split_by_the_fractions(tmp_path, images, masks):
    write_pairs(tmp_path, range(10), images, masks)
    sections = folder_datalist(tmp_path, val_fraction=0.2, test_fraction=0.3)
    assert [len(sections[name]) for name in ("training", "validation", "testing")] == [5, 2, 3]
    everything = [name for cases in sections.values() for name in names(cases)]
    assert sorted(everything) == [f"{index}.jpg" for index in range(10)]
    for case in sections["training"]:
        assert names([case])[0][:-4] == names([case], "label")[0][:-4]


def test_the_same_seed_gives_the_same_split_and_another_one_another(tmp_path):
    write_pairs(tmp_path, range(30))
    assert folder_datalist(tmp_path, seed=1) == folder_datalist(tmp_path, seed=1)
    assert folder_datalist(tmp_path, seed=1) != folder_datalist(tmp_path, seed=2)


def test_given_sections_are_kept_and_only_missing_ones_drawn(tmp_path):
    write_pairs(tmp_path / "train", range(10))
    write_pairs(tmp_path / "validation", range(4))
    sections = folder_datalist(tmp_path, val_fraction=0.5, test_fraction=0.1)
    assert [len(sections[name]) for name in ("training", "validation", "testing")] == [9, 4, 1]
    assert all("/validation/" in case["image"] for case in sections["validation"])


def test_decathlon_test_images_come_without_label(tmp_path):
    write_pairs(tmp_path, range(4), "imagesTr", "labelsTr")
    write_picture(tmp_path / "imagesTs" / "x.png")
    assert folder_datalist(tmp_path)["testing"] == [{"image": str(tmp_path / "imagesTs" / "x.png")}]


def test_volumes_and_dicom_folders_pair_by_their_name(tmp_path):
    for case in ("p1", "p2"):
        for index in range(2):
            write_dicom_header(tmp_path / "images" / case / f"{index}.dcm", f"1.{case[1]}")
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / "labels" / f"{case}.nii.gz").write_bytes(b"x")
    cases = folder_datalist(tmp_path, val_fraction=0)["training"]
    assert names(cases) == ["p1", "p2"]
    assert names(cases, "label") == ["p1.nii.gz", "p2.nii.gz"]


@pytest.mark.parametrize(
    ("folder", "mask"),
    [(".", "{}.png"), (".", "{}_mask.png"), (".", "{}.dcm"), ("p1", "{}.png"), ("p1", "{}_gt.png")],
)
def test_dicom_pictures_of_one_series_pair_one_by_one(tmp_path, folder, mask):
    for stem in ("a", "b", "c"):
        write_dicom_header(tmp_path / "images" / folder / f"{stem}.dcm", "1.1")
        path = tmp_path / "masks" / folder / mask.format(stem)
        if path.suffix == ".dcm":
            write_dicom_header(path, "1.2")
        else:
            write_picture(path)
    cases = folder_datalist(tmp_path, val_fraction=0)["training"]
    assert names(cases) == ["a.dcm", "b.dcm", "c.dcm"]
    assert names(cases, "label") == [mask.format(stem) for stem in "abc"]


def test_dicom_series_of_one_name_are_a_volume_and_its_mask(tmp_path):
    for index in range(2):
        for number, part in enumerate(("images", "masks")):
            for case in ("p1", "p2"):
                uid = f"1.{number}.{case[1]}"
                write_dicom_header(tmp_path / part / case / f"{index}.dcm", uid)
    cases = folder_datalist(tmp_path, val_fraction=0)["training"]
    assert names(cases) == names(cases, "label") == ["p1", "p2"]


@pytest.mark.parametrize(("folder", "said"), [("p1", "p1"), (".", r"0\.dcm, 1\.dcm")])
def test_dicom_images_without_masks_are_named(tmp_path, folder, said):
    for index in range(2):
        write_dicom_header(tmp_path / "images" / folder / f"{index}.dcm", "1.1")
    write_picture(tmp_path / "masks" / "q.png")
    with pytest.raises(ValueError, match=rf"no mask for {said}; no image for q\.png"):
        folder_datalist(tmp_path)


def test_mask_endings_of_public_sets_are_understood(tmp_path):
    write_pairs(tmp_path, ["a", "b"], mask_name="{}_segmentation.png")
    assert len(folder_datalist(tmp_path, val_fraction=0)["training"]) == 2


def test_unmatched_images_and_masks_are_named(tmp_path):
    write_pairs(tmp_path, range(3))
    write_picture(tmp_path / "images" / "lonely.png")
    write_picture(tmp_path / "masks" / "orphan.png")
    with pytest.raises(ValueError, match=r"no mask for lonely\.png; no image for orphan\.png"):
        folder_datalist(tmp_path)


def test_many_unmatched_images_are_counted(tmp_path):
    write_pairs(tmp_path, range(3))
    for index in range(7):
        write_picture(tmp_path / "images" / f"x{index}.png")
    with pytest.raises(ValueError, match=r"x4\.png and 2 more"):
        folder_datalist(tmp_path)


def test_two_files_of_one_stem_are_refused(tmp_path):
    write_pairs(tmp_path, range(3))
    write_picture(tmp_path / "images" / "1.png")
    with pytest.raises(ValueError, match="one file per case"):
        folder_datalist(tmp_path)


def test_an_unknown_layout_is_refused_with_what_is_there(tmp_path):
    write_picture(tmp_path / "pictures" / "a.png")
    with pytest.raises(ValueError, match="got pictures"):
        folder_datalist(tmp_path)


def test_fewer_than_two_cases_are_refused(tmp_path):
    write_pairs(tmp_path, ["only"])
    with pytest.raises(ValueError, match="at least 2 cases"):
        folder_datalist(tmp_path)


def test_fractions_that_leave_nothing_to_train_on_are_refused(tmp_path):
    write_pairs(tmp_path, range(2))
    with pytest.raises(ValueError, match="one case left to train on"):
        folder_datalist(tmp_path, val_fraction=0.5, test_fraction=0.5)
    with pytest.raises(ValueError, match="validation fraction"):
        folder_datalist(tmp_path, val_fraction=1.0)


def test_a_small_fraction_still_gives_one_case(tmp_path):
    write_pairs(tmp_path, range(3))
    assert len(folder_datalist(tmp_path, val_fraction=0.01)["validation"]) == 1


def test_a_written_split_is_reused_though_images_and_arguments_change(tmp_path):
    write_pairs(tmp_path / "data", range(10))
    split = tmp_path / "out" / "split.json"
    first = folder_datalist(tmp_path / "data", split, seed=1)
    write_pairs(tmp_path / "data", ["new"])
    assert folder_datalist(tmp_path / "data", split, val_fraction=0.5, seed=2) == first
    assert [path.name for path in split.parent.iterdir()] == ["split.json"]


def test_a_split_survives_moving_the_data(tmp_path):
    write_pairs(tmp_path / "old", range(4))
    split = tmp_path / "split.json"
    first = folder_datalist(tmp_path / "old", split)
    shutil.move(tmp_path / "old", tmp_path / "new")
    second = folder_datalist(tmp_path / "new", split)
    assert names(first["training"]) == names(second["training"])
    assert "/new/" in second["training"][0]["image"]


def test_a_split_with_missing_files_is_refused(tmp_path):
    write_pairs(tmp_path / "data", range(4))
    split = tmp_path / "split.json"
    folder_datalist(tmp_path / "data", split)
    (tmp_path / "data" / "masks" / "2.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 missing, for example .*masks/2\.png"):
        folder_datalist(tmp_path / "data", split)


def test_a_published_split_fits_copies_with_other_folders_and_file_types(tmp_path):
    write_pairs(tmp_path / "here", range(5))
    split = tmp_path / "split.json"
    first = folder_datalist(tmp_path / "here", split, test_fraction=0.2)
    for kind, folder in (("images", "imagesTr"), ("masks", "labelsTr")):
        (tmp_path / "there" / folder).mkdir(parents=True)
        for file in (tmp_path / "here" / kind).iterdir():
            shutil.copy(file, tmp_path / "there" / folder / f"{file.stem}.bmp")
    second = folder_datalist(tmp_path / "there", split)
    for section, cases in first.items():
        stems = [Path(case["image"]).stem for case in cases]
        assert [Path(case["image"]).stem for case in second[section]] == stems
        assert all("/labelsTr/" in case["label"] for case in second[section])
    (tmp_path / "there" / "imagesTr" / "0.bmp").unlink()
    (tmp_path / "there" / "labelsTr" / "0.bmp").unlink()
    with pytest.raises(FileNotFoundError, match=r"10 missing"):
        folder_datalist(tmp_path / "there", split)


def test_a_damaged_split_is_refused(tmp_path):
    write_pairs(tmp_path, range(4))
    (tmp_path / "split.json").write_text('{"training": [')
    with pytest.raises(ValueError, match=r"split\.json.*cannot be read"):
        folder_datalist(tmp_path, tmp_path / "split.json")


def test_a_decathlon_datalist_is_read_with_its_extra_keys(tmp_path):
    write_pairs(tmp_path, range(3), "imagesTr", "labelsTr")
    training = [
        {"image": f"./imagesTr/{i}.jpg", "label": f"./labelsTr/{i}.png", "fold": i}
        for i in range(3)
    ]
    content = {"name": "x", "training": training, "test": ["./imagesTs/9.jpg"]}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    sections = folder_datalist(tmp_path, tmp_path / "split.json", val_fraction=0.34)
    assert [len(sections[name]) for name in ("training", "validation", "testing")] == [2, 1, 1]
    assert sections["testing"] == [{"image": str(tmp_path / "imagesTs" / "9.jpg")}]
    assert {case["fold"] for case in sections["training"] + sections["validation"]} == {0, 1, 2}
    write_picture(tmp_path / "imagesTs" / "9.jpg")
    assert folder_datalist(tmp_path, tmp_path / "split.json") == sections


def test_a_datalist_file_may_be_given_itself_and_name_several_channels(tmp_path):
    cases = [
        {"image": ["a1.nii", "a2.nii"], "label": "a.nii"},
        {"image": "/b.nii", "label": "b.nii"},
    ]
    (tmp_path / "mine.json").write_text(json.dumps({"training": cases}))
    training = folder_datalist(tmp_path / "mine.json", tmp_path / "s.json", val_fraction=0)[
        "training"
    ]
    assert training[0]["image"] == [str(tmp_path / "a1.nii"), str(tmp_path / "a2.nii")]
    assert training[1]["image"] == "/b.nii"
    assert json.loads((tmp_path / "s.json").read_text())["training"][0]["image"] == [
        "a1.nii",
        "a2.nii",
    ]


@pytest.mark.parametrize(
    "content",
    [
        "[1, 2]",
        '{"images": []}',
        '{"training": {}}',
        '{"training": {}, "test": []}',
        '{"training": [{"label": "x"}]}',
    ],
)
def test_a_datalist_of_another_form_is_refused(tmp_path, content):
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(ValueError, match=r"Expected .*dataset\.json"):
        folder_datalist(tmp_path)


def test_one_section_is_loaded_by_name(tmp_path):
    write_pairs(tmp_path, range(5))
    assert len(load_datalist(tmp_path, "training")) == 4
    assert len(load_datalist(tmp_path, "validation")) == 1


def test_empty_and_unknown_sections_are_refused(tmp_path):
    write_pairs(tmp_path, range(5))
    with pytest.raises(ValueError, match="Expected cases of the section 'testing'"):
        load_datalist(tmp_path, "testing")
    with pytest.raises(ValueError, match="Expected a section of"):
        load_datalist(tmp_path, "train")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_datalist(tmp_path / "nowhere")


def write_test_set(folder, layout):
    """Five test cases with masks and nothing else."""
    if layout == "folders":
        write_pairs(folder / "test", range(5))
    elif layout == "Decathlon":
        write_pairs(folder, range(5), "imagesTs", "labelsTs")
    else:
        write_pairs(folder, range(5), "pictures", "truth")
        cases = [{"image": f"pictures/{i}.jpg", "label": f"truth/{i}.png"} for i in range(5)]
        (folder / "dataset.json").write_text(json.dumps({"testing": cases}))
    return folder


LAYOUTS = ("folders", "Decathlon", "datalist")


@pytest.mark.parametrize("section", ["testing", "all"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_data_set_of_test_cases_alone_is_judged_whole_without_a_split(tmp_path, layout, section):
    data = write_test_set(tmp_path / "data", layout)
    before = sorted(data.rglob("*"))
    cases = load_datalist(data, section, tmp_path / "split.json", test_fraction=0.2)
    assert names(cases) == [f"{index}.jpg" for index in range(5)]
    assert names(cases, "label") == [f"{index}.png" for index in range(5)]
    assert not (tmp_path / "split.json").exists() and sorted(data.rglob("*")) == before


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_split_of_the_training_data_is_no_split_of_another_test_set(tmp_path, layout):
    write_pairs(tmp_path / "trained", range(3))
    split = tmp_path / "split.json"
    folder_datalist(tmp_path / "trained", split)
    before = split.read_text()
    cases = load_datalist(write_test_set(tmp_path / "data", layout), "testing", split)
    assert len(cases) == 5 and split.read_text() == before


def test_a_split_of_the_test_set_itself_is_followed(tmp_path):
    data = write_test_set(tmp_path / "data", "folders")
    chosen = [{"image": f"test/images/{i}.jpg", "label": f"test/masks/{i}.png"} for i in (1, 3)]
    (tmp_path / "split.json").write_text(json.dumps({"testing": chosen}))
    assert names(load_datalist(data, "testing", tmp_path / "split.json")) == ["1.jpg", "3.jpg"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_test_cases_alone_are_not_trained_on(tmp_path, layout):
    data = write_test_set(tmp_path, layout)
    for section in ("training", "validation"):
        with pytest.raises(ValueError, match=r"0 to train on and 5 to test on.*can be judged only"):
            load_datalist(data, section, tmp_path / "split.json")
    assert not (tmp_path / "split.json").exists()


def test_all_cases_with_masks_are_judged_whatever_the_split(tmp_path):
    write_pairs(tmp_path / "flat", range(5))
    split = tmp_path / "split.json"
    folder_datalist(tmp_path / "flat", split)
    assert len(load_datalist(tmp_path / "flat", "all", split)) == 5
    write_pairs(tmp_path / "divided" / "train", range(2))
    write_pairs(tmp_path / "divided" / "test", range(3))
    assert len(load_datalist(tmp_path / "divided", "all", tmp_path / "new.json")) == 5
    case = {"image": "flat/images/0.jpg", "label": "flat/masks/0.png"}
    content = {"validation": [case], "testing": [case, "flat/images/1.jpg"]}
    (tmp_path / "list.json").write_text(json.dumps(content))
    assert names(load_datalist(tmp_path / "list.json", "all")) == ["0.jpg"]
    assert not (tmp_path / "new.json").exists()


def test_a_fraction_of_one_says_how_to_judge_every_case(tmp_path):
    write_pairs(tmp_path, range(5))
    with pytest.raises(ValueError, match="section all"):
        load_datalist(tmp_path, "testing", test_fraction=1)


def test_cases_to_judge_need_masks(tmp_path):
    write_picture(tmp_path / "imagesTs" / "x.png")
    with pytest.raises(ValueError, match=r"none for 1, such as .*x\.png"):
        load_datalist(tmp_path, "testing")
    with pytest.raises(ValueError, match="Expected cases of the section 'all'"):
        load_datalist(tmp_path, "all")


def mask_case(tmp_path, *values):
    """A case whose mask holds the values."""
    path = tmp_path / f"{'_'.join(map(str, values))}.nii"
    nibabel.save(nibabel.Nifti1Image(np.array(values, np.uint8)[:, None, None], np.eye(4)), path)
    return {"label": str(path)}


def test_labels_that_occur_somewhere_pass(tmp_path):
    cases = [mask_case(tmp_path, 0, 1), mask_case(tmp_path, 0, 2)]
    check_labels_present(cases, ["anterior hippocampus", "posterior hippocampus"])


def test_masks_after_all_labels_were_seen_are_not_read(tmp_path):
    check_labels_present([mask_case(tmp_path, 0, 1), {"label": "gone.nii"}], ["polyp"])


def test_a_label_absent_in_all_masks_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"1 masks, got none with 'b' \(2\); values seen: 0, 1\."):
        check_labels_present([mask_case(tmp_path, 0, 1)], ["a", "b"])


def test_empty_masks_everywhere_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"'polyp' \(1\)"):
        check_labels_present([mask_case(tmp_path, 0, 0), mask_case(tmp_path, 0, 3)], ["polyp"])
    check_labels_present([mask_case(tmp_path, 0, 255)], ["polyp"])


def test_raw_values_are_mapped_before_the_check(tmp_path):
    check_labels_present([mask_case(tmp_path, 0, 5)], ["spleen"], lambda values: values == 5)
    with pytest.raises(ValueError, match="spleen"):
        check_labels_present([mask_case(tmp_path, 0, 1)], ["spleen"], lambda values: values == 5)


def test_cases_without_masks_are_refused():
    with pytest.raises(ValueError, match="got 1 without"):
        check_labels_present([{"image": "a.png"}], ["polyp"])
