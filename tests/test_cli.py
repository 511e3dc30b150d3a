"""The command `conceptseg`: any input, masks and tables out, resumed runs, readable faults."""

import json
import shutil
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from monai.bundle import ConfigParser
from packaging.requirements import Requirement
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from conceptseg.cli import doctor
from conceptseg.cli.dicom_seg import frames_of, write_dicom_seg
from conceptseg.cli.dicomweb import probe
from conceptseg.cli.inputs import common_folder, find_inputs
from conceptseg.cli.ledger import LEDGER, Ledger
from conceptseg.cli.main import main
from conceptseg.results import PredictionSummary

HIPPOCAMPUS, POLYP = "hippocampus_mr_segmentation", "polyp_endoscopy_segmentation"
MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"


@pytest.fixture(scope="module")
def bundles(repository, tmp_path_factory) -> dict[str, Path]:
    """Both bundles with small networks of random weights."""
    folder, result = tmp_path_factory.mktemp("bundles"), {}
    for name in (HIPPOCAMPUS, POLYP):
        bundle = folder / name
        ignored = shutil.ignore_patterns("models", "eval", "train_output")
        shutil.copytree(repository / "bundles" / name, bundle, ignore=ignored)
        file = bundle / "configs" / "inference.yaml"
        text = file.read_text().replace("image_size: 224", "image_size: 64")
        wide = next(w for w in ("[24, 48, 96, 160]", "[32, 64, 128, 192]") if w in text)
        file.write_text(text.replace(wide, "[8, 8, 12, 16]"))
        parser = ConfigParser()
        parser.read_config(str(file))
        torch.manual_seed(1)
        (bundle / "models").mkdir()
        state = parser.get_parsed_content("network_def").state_dict()
        torch.save(state, bundle / "models" / "model.pt")
        result[name] = bundle
    return result


@pytest.fixture
def photos(tmp_path) -> Path:
    """Two photographs in sub-folders, of the same name."""
    for number, part in enumerate(("a", "b")):
        (tmp_path / "in" / part).mkdir(parents=True)
        Image.new("RGB", (50 + number, 40), "red").save(tmp_path / "in" / part / "x.png")
    return tmp_path / "in"


def run(capsys, *arguments) -> tuple[int, dict, str]:
    """`conceptseg predict ... --json`: exit code, JSON, stderr."""
    code = main(["predict", *map(str, arguments), "--json"])
    captured = capsys.readouterr()
    return code, json.loads(captured.out) if captured.out else {}, captured.err


def test_a_folder_gives_masks_overlays_and_tables_below_the_same_sub_folders(
    bundles, photos, tmp_path, capsys
):
    out = tmp_path / "out"
    code, said, _ = run(capsys, photos, out, "--bundle", bundles[POLYP])
    assert code == 0 and len(said["done"]) == 2 and said["exit_code"] == 0
    assert [Image.open(out / p / "x_seg.png").size for p in "ab"] == [(50, 40), (51, 40)]
    assert (out / "a" / "x_seg_overlay.png").exists()
    rows = json.loads((out / "summary.json").read_text())
    assert [Path(r["image"]).parent.name for r in rows] == ["a", "b"] and rows == said["rows"]
    assert (out / "summary.csv").read_text().count("polyp") >= 2


def test_a_second_run_skips_what_is_done_and_does_what_changed(bundles, photos, tmp_path, capsys):
    arguments = (photos, tmp_path / "out", "--bundle", bundles[POLYP])
    run(capsys, *arguments)
    first = (tmp_path / "out" / "a" / "x_seg.png").stat().st_mtime_ns
    with open(tmp_path / "out" / LEDGER, "a") as stream:
        stream.write('{"image": "cut of')  # power failed here
    (tmp_path / "out" / "b" / "x_seg.png").unlink()
    code, said, _ = run(capsys, *arguments)
    assert code == 0 and len(said["done"]) == len(said["skipped"]) == 1
    assert len(said["rows"]) == 2
    assert (tmp_path / "out" / "a" / "x_seg.png").stat().st_mtime_ns == first


def killed_while_segmenting(monkeypatch) -> None:
    """The process dies when the mask is there and the overlay is to be drawn."""

    def kill(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(PredictionSummary, "_draw", kill)


def test_a_mask_that_a_killed_run_left_is_made_again(
    bundles, photos, tmp_path, capsys, monkeypatch
):
    arguments = (photos / "a", tmp_path / "out", "--bundle", bundles[POLYP])
    killed_while_segmenting(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run(capsys, *arguments)
    mask = tmp_path / "out" / "x_seg.png"
    assert mask.exists()
    monkeypatch.undo()
    code, _, error = run(capsys, *arguments, "--prompt", "small polyp")
    assert code == 2 and str(mask) in error and "--overwrite" in error  # it is of other settings
    code, said, error = run(capsys, *arguments)
    assert code == 0, error
    assert len(said["done"]) == 1 and mask.with_name("x_seg_overlay.png").exists()


def test_a_mask_that_a_killed_run_replaced_is_not_taken_for_that_of_before(
    bundles, photos, tmp_path, capsys, monkeypatch
):
    arguments = (photos / "a", tmp_path / "out", "--bundle", bundles[POLYP])
    run(capsys, *arguments)
    killed_while_segmenting(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run(capsys, *arguments, "--prompt", "small polyp", "--overwrite")
    monkeypatch.undo()
    code, said, error = run(capsys, *arguments)
    assert code == 2 and "--overwrite" in error and not said


def test_the_line_after_half_a_line_is_kept(tmp_path):
    image = tmp_path / "x.png"
    (tmp_path / LEDGER).write_text('{"image": "cut of')
    Ledger(tmp_path, {}).add(image, [1, 2], [], [], [])
    Ledger(tmp_path, {}).add(tmp_path / "y.png", [1, 2], [], [], [])
    assert Ledger(tmp_path, {}).finished(image, [1, 2])["rows"] == []
    assert Ledger(tmp_path, {}).finished(image, [1, 3]) is None


def test_a_mask_that_two_images_would_share_is_never_replaced(tmp_path):
    ledger, mask = Ledger(tmp_path, {}), tmp_path / "x_seg.png"
    ledger.add(tmp_path / "x.png", [1, 2], [], [str(mask)], [])
    assert ledger.may_replace(mask, tmp_path / "x.png", [1, 2])
    ledger.begin(tmp_path / "x.jpg", [1, 2], mask)  # and refused when it was to be saved
    assert not ledger.may_replace(mask, tmp_path / "x.jpg", [1, 2])


def test_an_edited_config_is_not_done_before(bundles, photos, tmp_path, capsys):
    bundle = tmp_path / POLYP
    shutil.copytree(bundles[POLYP], bundle)
    arguments = [photos / "a", tmp_path / "out", "--bundle", bundle]
    run(capsys, *arguments)
    config = bundle / "configs" / "inference.yaml"
    text = config.read_text()
    config.write_text(text.replace("image_size: 64", "image_size: 96"))
    code, said, error = run(capsys, *arguments)
    assert code == 2 and "--overwrite" in error and not said
    config.write_text(text)
    code, said, _ = run(capsys, *arguments)
    assert code == 0 and len(said["skipped"]) == 1


def test_masks_of_other_settings_are_not_replaced_unasked(bundles, photos, tmp_path, capsys):
    arguments = [photos / "a", tmp_path / "out", "--bundle", bundles[POLYP]]
    run(capsys, *arguments)
    code, said, error = run(capsys, *arguments, "--prompt", "small polyp")
    assert code == 2 and "--overwrite" in error and not said
    code, said, _ = run(capsys, *arguments, "--prompt", "small polyp", "--overwrite")
    assert code == 0 and said["rows"][0]["prompt"]


def test_descriptors_are_words_of_a_network_that_was_trained_with_them(
    bundles, photos, tmp_path, capsys
):
    arguments = [photos / "a", tmp_path / "out", "--bundle", bundles[POLYP]]
    arguments += ["--prompt", "polyp with smooth texture"]
    code, _, error = run(capsys, *arguments)
    assert code == 2 and "smooth" in error
    modality = ["--set", "descriptor_modality=endoscopy"]
    parser = ConfigParser()
    parser.read_config(str(bundles[POLYP] / "configs" / "inference.yaml"))
    parser["descriptor_modality"] = "endoscopy"
    weights = tmp_path / "model.pt"
    torch.save(parser.get_parsed_content("network_def").state_dict(), weights)
    code, said, error = run(capsys, *arguments, *modality, "--weights", weights)
    assert code == 0, error
    assert "smooth" in said["rows"][0]["prompt"]


def test_one_bad_file_does_not_stop_the_others(bundles, photos, tmp_path, capsys):
    (photos / "broken.png").write_bytes(b"no picture")
    code, said, _ = run(capsys, photos, tmp_path / "out", "--bundle", bundles[POLYP])
    assert code == 3 and len(said["done"]) == 2
    assert [Path(n).name for n in said["failed"]] == ["broken.png"]
    assert next(iter(said["failed"].values())).startswith("Expected a readable image")
    assert "broken.png" in (tmp_path / "out" / "summary.csv").read_text()
    code, said, _ = run(capsys, photos / "broken.png", tmp_path / "o2", "--bundle", bundles[POLYP])
    assert code == 1 and not said["done"]


@pytest.mark.parametrize(
    ("extra", "word"),
    [
        (["--prompt", "purple zebra"], "zebra"),
        (["--prompt", ""], "empty"),
        (["--weights", "absent.pt"], "absent.pt"),
        (["--set", "nonsense"], "ID=VALUE"),
        (["--bundle", "no_such_bundle"], "no_such_bundle"),
        (["--onnx"], "export_onnx"),
    ],
)
def test_wrong_arguments_end_with_one_sentence(bundles, photos, tmp_path, capsys, extra, word):
    arguments = [photos, tmp_path / "out", "--bundle", bundles[POLYP], *extra]
    code, said, error = run(capsys, *arguments)
    said = error if code == 2 else " ".join(said["failed"].values())
    assert code in (1, 2) and word in said
    assert not list(tmp_path.glob("out/**/*_seg.png"))


def test_patterns_and_several_inputs_are_found_once(photos, tmp_path):
    found, _ = find_inputs([str(photos / "*" / "*.png"), str(photos / "a")], 2)
    assert [p.parent.name for p in found] == ["a", "b"]
    with pytest.raises(FileNotFoundError, match="quote"):
        find_inputs([str(tmp_path / "*.jpg")], 2)


@pytest.fixture
def data(photos, tmp_path, monkeypatch) -> Path:
    """A data set of one image with its mask, in the working directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("images", "masks"):
        shutil.copytree(photos / "a", tmp_path / "data" / name)
    return Path("data")


@pytest.mark.parametrize("pattern", ["data", "data/**/*.png", "data/*/*", "data/*", "**/*.png"])
def test_masks_of_a_data_set_are_no_inputs(data, pattern):
    kept, left_out = find_inputs([pattern], 2)
    assert {p.parent.name for p in kept} - {"a", "b"} == {"images"}
    assert left_out == [data / "masks" / "x.png"]


@pytest.mark.parametrize("named", ["data/masks", "data/masks/x.png", "data/masks/*.png"])
def test_masks_that_are_named_are_inputs(data, named):
    assert find_inputs([named], 2) == ([data / "masks" / "x.png"], [])
    kept, left_out = find_inputs(["data/**/*.png", named], 2)
    assert [p.parent.name for p in kept] == ["images", "masks"] and left_out == []


def test_folders_without_images_do_not_stop_a_pattern(data):
    (data / "docs").mkdir()
    assert [p.parent.name for p in find_inputs(["data/*"], 2)[0]] == ["images"]
    with pytest.raises(FileNotFoundError, match="got nothing there"):
        find_inputs(["data/d*"], 2)


def test_masks_left_out_are_told(bundles, data, capsys):
    arguments = ["data/**/*.png", "out", "--bundle", str(bundles[POLYP])]
    assert main(["predict", *arguments]) == 0
    said = capsys.readouterr()
    assert "masks left out: 1, in data/masks" in said.err and "1 segmented" in said.out
    assert run(capsys, *arguments)[1]["left_out"] == ["data/masks/x.png"]


def test_images_on_two_drives_are_refused(monkeypatch):
    def on_two_drives(paths):
        raise ValueError("Paths don't have the same drive")

    monkeypatch.setattr("os.path.commonpath", on_two_drives)
    with pytest.raises(ValueError, match="for each drive"):
        common_folder([Path("a.png"), Path("b.png")])


def write_series(folder: Path, shape=(20, 28, 12)) -> None:
    """An axial MR series, its files named against the order of its slices."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    study, series, frame = (generate_uid() for _ in range(3))
    for z in range(shape[2]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = MR_IMAGE_STORAGE
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        one.is_little_endian, one.is_implicit_VR = True, False
        one.SOPClassUID, one.SOPInstanceUID = MR_IMAGE_STORAGE, meta.MediaStorageSOPInstanceUID
        one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = study, series, frame
        one.PatientName = "phantom"  # and no other patient or study attribute: de-identified
        one.Manufacturer = one.PositionReferenceIndicator = ""
        one.StudyDate, one.Modality, one.SeriesNumber, one.InstanceNumber = (
            "20260101",
            "MR",
            1,
            z + 1,
        )
        one.ImageOrientationPatient, one.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 2.0 * z]
        one.PixelSpacing, one.SliceThickness = [1, 1], 2
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.Columns, one.Rows = shape[:2]
        one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 0
        one.PixelData = rng.integers(0, 1000, (shape[1], shape[0]), dtype=np.uint16).tobytes()
        one.save_as(folder / f"{shape[2] - z:03}.dcm", write_like_original=False)


def test_a_dicom_series_gives_nifti_and_dicom_seg_on_its_own_slices(bundles, tmp_path, capsys):
    pytest.importorskip("highdicom", reason="the extra dicom is not installed")
    write_series(tmp_path / "series")
    out = tmp_path / "out"
    code, said, _ = run(capsys, tmp_path / "series", out, "--bundle", bundles[HIPPOCAMPUS])
    assert code == 0, said
    mask = nib.load(out / "series_seg.nii.gz")
    seg = pydicom.dcmread(out / "series_seg.dcm")
    assert seg.Modality == "SEG" and seg.Rows == 28 and seg.Columns == 20
    first = pydicom.dcmread(sorted((tmp_path / "series").iterdir())[0])
    assert seg.FrameOfReferenceUID == first.FrameOfReferenceUID
    assert seg.StudyInstanceUID == first.StudyInstanceUID
    assert [s.SegmentLabel for s in seg.SegmentSequence] == [
        "anterior hippocampus",
        "posterior hippocampus",
    ]
    total = int((np.asarray(mask.dataobj) > 0).sum())
    assert int(np.atleast_3d(seg.pixel_array).sum()) == total
    lines = (out / LEDGER).read_text().splitlines()
    (out / LEDGER).write_text("\n".join(lines[:2]) + "\n")  # as from a run without highdicom
    (out / "series_seg.dcm").unlink()
    code, said, _ = run(capsys, tmp_path / "series", out, "--bundle", bundles[HIPPOCAMPUS])
    assert code == 0 and not said["done"] and (out / "series_seg.dcm").exists()


@pytest.mark.parametrize(
    ("first", "tag", "value", "words"),
    [
        (8, "SliceThickness", 3, "only 8 of the series' 12 files were read"),
        (11, "ImagePositionPatient", [0, 0, 24], "slices are missing or unevenly spaced"),
        (11, "SliceThickness", 2, ""),
    ],
)
def test_a_series_that_is_read_in_part_or_unevenly_says_so(
    bundles, tmp_path, capsys, first, tag, value, words
):
    write_series(tmp_path / "series")
    by_position = sorted((tmp_path / "series").iterdir(), reverse=True)
    for file in by_position[first:]:
        one = pydicom.dcmread(file)
        setattr(one, tag, value)
        one.save_as(file)
    arguments = [tmp_path / "series", tmp_path / "out", "--bundle", bundles[HIPPOCAMPUS]]
    code, said, error = run(capsys, *arguments, "--no_dicom_seg")
    assert code == 0, error
    notes = said["notes"].get(str(tmp_path / "series"), [])
    assert len(notes) == bool(words) and "".join(notes).startswith(words)
    row = json.loads((tmp_path / "out" / "summary.json").read_text())[0]
    assert row.get("notes", "") == "".join(notes)
    again = run(capsys, *arguments, "--no_dicom_seg")[1]
    assert again["skipped"] and again["notes"] == said["notes"]


def test_segments_lie_where_the_mask_has_them(tmp_path):
    pytest.importorskip("highdicom", reason="the extra dicom is not installed")
    write_series(tmp_path / "series")
    # the series runs to the patient's left and back from the origin: RAS x and y fall
    affine = np.diag([-1.0, -1.0, 2.0, 1.0])
    mask = np.zeros((20, 28, 12), np.uint8)
    mask[3, 7, 5] = 2
    nib.save(nib.Nifti1Image(mask, affine), tmp_path / "mask.nii.gz")
    write_dicom_seg(
        *(tmp_path / "series", tmp_path / "mask.nii.gz", tmp_path / "seg.dcm"),
        *(["front", "hippocampus"], "a_segmentation", "0.1.0"),
    )
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    frames = seg.pixel_array.reshape(-1, 28, 20)
    assert len(frames) == 1 and np.argwhere(frames[0]).tolist() == [[7, 3]]
    groups = seg.PerFrameFunctionalGroupsSequence[0]
    assert groups.PlanePositionSequence[0].ImagePositionPatient[2] == 10.0
    assert groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber == 2
    assert seg.SegmentSequence[1].SegmentedPropertyTypeCodeSequence[0].CodeValue == "5366008"


def test_a_mask_off_the_grid_and_a_series_without_positions_are_refused():
    slices = [pydicom.Dataset()]
    slices[0].ImagePositionPatient, slices[0].SOPInstanceUID = [0, 0, 0.5], "1.2"
    slices[0].Rows, slices[0].Columns = 4, 3
    with pytest.raises(ValueError, match="grid"):
        frames_of(np.zeros((3, 4, 2)), np.diag([-1.0, -1, 1, 1]), slices)


def test_doctor_finds_versions_and_names_the_cure(capsys, bundles):
    assert main(["doctor", "--json", "--bundle", str(bundles[POLYP])]) in (0, 1)
    found = {f["name"]: f for f in json.loads(capsys.readouterr().out)}
    assert found["python"]["state"] == "ok" and found["torch"]["state"] == "ok"
    assert found["bundle"]["state"] == "ok" and found["labels"]["found"] == "polyp"
    fault = doctor.check_requirement(Requirement("torch<1"))
    assert fault.state == "fault" and fault.cure == "pip install 'torch<1'"
    absent = doctor.check_requirement(Requirement("no-such-package>=2"))
    assert absent.cure == "pip install 'no-such-package>=2'"
    assert main(["doctor", "--bundle", "no_such_bundle"]) == 1
    assert "-> train it" in capsys.readouterr().out


class Pacs(BaseHTTPRequestHandler):
    """A DICOMweb server that answers by path."""

    def do_GET(self):
        """Two series, or the fault in the path's first part."""
        kind, code, body = "application/dicom+json", 200, b"[]"
        if self.path.startswith("/locked"):
            code = 401
        elif self.path.startswith("/wrong"):
            code = 404
        elif self.path.startswith("/page"):
            kind, body = "text/html", b"<html></html>"
        elif "/metadata" in self.path:
            body = b"[{}, {}]"
        elif self.path.startswith("/good"):
            entry = {"00080060": {"Value": ["MR"]}, "0020000D": {"Value": ["1"]}}
            body = json.dumps([entry | {"0020000E": {"Value": ["2"]}}]).encode()
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Stay silent."""


def test_the_dicomweb_probe_names_each_fault_and_its_cure():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pacs)
    Thread(target=server.serve_forever, daemon=True).start()
    root = f"http://127.0.0.1:{server.server_port}"
    try:
        good = list(probe(f"{root}/good/"))
        assert [f[1] for f in good] == ["ok"] * 3 and "1 MR" in good[1][2]
        assert "SEARCH_FILTER" in good[1][3]
        assert list(probe(f"{root}/empty"))[-1][1] == "note"
        for path, cure in (("locked", "--user"), ("wrong", "/dicom-web"), ("page", "root")):
            name, state, _, said = list(probe(f"{root}/{path}"))[-1]
            assert (name, state) == ("dicomweb", "fault") and cure in said
    finally:
        server.shutdown()
        server.server_close()
    assert "start the server" in list(probe(root))[-1][3]
    assert list(probe("ftp://x"))[-1][1] == "fault"
