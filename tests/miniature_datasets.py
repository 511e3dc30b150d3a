"""The official layouts of the thirteen data sets in miniature: generated pictures, real formats.

Each builder fills a folder as the download would and says what must come out of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import itk
import nibabel
import numpy as np
import pydicom
from PIL import Image

SIZE = (40, 32)  # width, height


@dataclass
class Expected:
    """What preparing a miniature must give.

    Attributes:
        sizes: case name -> elements of each label.
        sections: section -> number of cases.
        oddities: kind -> number; the counts, which never fit a miniature, are left aside.
    """

    sizes: dict[str, list[int]]
    sections: dict[str, int]
    oddities: dict[str, int] = field(default_factory=dict)


def picture(seed: int, color: bool = True) -> np.ndarray:
    """Noise (rows, columns[, 3]) uint8; every seed gives another one."""
    random = np.random.default_rng(seed)
    shape = (SIZE[1], SIZE[0], 3) if color else (SIZE[1], SIZE[0])
    return random.integers(0, 256, shape, dtype=np.uint8)


def block(left: int, top: int, width: int, height: int) -> np.ndarray:
    """Mask (rows, columns) 0/1 with a filled rectangle."""
    mask = np.zeros((SIZE[1], SIZE[0]), dtype=np.uint8)
    mask[top : top + height, left : left + width] = 1
    return mask


def save(path: Path, array: np.ndarray, **options) -> None:
    """Save a picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def kvasir_seg(folder: Path) -> Expected:
    """JPEG masks; one case of each packaged list, an image without mask, a repeated image."""
    names = ["aaa", "bbb", "ccc", "cju2rpa30t07b0835im0erql0", "cju2rqo702wpx0855fn7d5cxh"]
    for i, name in enumerate(names):
        content = picture(0 if name == "ccc" else i)  # ccc repeats aaa
        save(folder / f"Kvasir-SEG/images/{name}.jpg", content, quality=95)
        mask = np.repeat(block(8, 8, 16, 8)[..., None], 3, axis=2) * np.uint8(255)
        save(folder / f"Kvasir-SEG/masks/{name}.jpg", mask, quality=95)
    save(folder / "Kvasir-SEG/images/lonely.jpg", picture(9))
    (folder / "Kvasir-SEG/kavsir_bboxes.json").write_text("{}")
    return Expected(
        {name: [128] for name in names},
        {"training": 3, "validation": 1, "testing": 1},
        {"unpaired_image": 1, "duplicate_image": 1, "split": 1},
    )


def bkai_igh(folder: Path) -> Expected:
    """Red and green polyps in JPEG masks, test images without masks."""
    sizes = {}
    for i in range(10):
        name = f"{i:032x}"
        save(folder / f"train/train/{name}.jpeg", picture(i), quality=95)
        mask = np.zeros((SIZE[1], SIZE[0], 3), dtype=np.uint8)
        mask[8:16, 0:16, 0] = 255
        if i % 2:
            mask[16:24, 24:40, 1] = 255
        save(folder / f"train_gt/train_gt/{name}.jpeg", mask, quality=100, subsampling=0)
        sizes[name] = [256 if i % 2 else 128]
    save(folder / "test/test/ffff.jpeg", picture(99))
    return Expected(sizes, {"training": 8, "validation": 1, "testing": 1})


def cvc_clinicdb(folder: Path) -> Expected:
    """TIFF pairs, one empty mask, and the PNG copies of the Kaggle archive."""
    sizes = {}
    for i in range(1, 11):
        mask = block(0, 0, 0 if i == 4 else 10, i) * np.uint8(255)
        for kind, suffix in (("TIF", "tif"), ("PNG", "png")):
            save(folder / f"{kind}/Original/{i}.{suffix}", picture(i))
            save(folder / f"{kind}/Ground Truth/{i}.{suffix}", mask)
        sizes[str(i)] = [0 if i == 4 else 10 * i]
    return Expected(sizes, {"training": 8, "validation": 1, "testing": 1}, {"empty_mask": 1})


def busi(folder: Path) -> Expected:
    """Three classes, an image with three masks, grey pictures stored as RGB, an empty normal mask."""
    root, sizes = folder / "Dataset_BUSI_with_GT", {}
    for i, (kind, number) in enumerate(
        [("benign", n) for n in range(1, 6)]
        + [("malignant", n) for n in range(1, 4)]
        + [("normal", 1), ("normal", 2)]
    ):
        grey = picture(i, color=False)
        save(root / kind / f"{kind} ({number}).png", np.repeat(grey[..., None], 3, axis=2))
        mask = block(2, 2, 0 if kind == "normal" else 10, 10) * np.uint8(255)
        save(root / kind / f"{kind} ({number})_mask.png", mask)
        sizes[f"{number}_{kind}"] = [0 if kind == "normal" else 100]
    extra = root / "benign" / "benign (3)_mask"
    save(Path(f"{extra}_1.png"), block(20, 2, 5, 5) * np.uint8(255))
    rgba = np.zeros((SIZE[1], SIZE[0], 4), dtype=np.uint8)
    rgba[..., :3] = block(30, 20, 2, 2)[..., None] * np.uint8(255)
    rgba[..., 3] = 255
    save(Path(f"{extra}_2.png"), rgba)
    sizes["3_benign"] = [129]
    return Expected(sizes, {"training": 8, "validation": 1, "testing": 1}, {"empty_mask": 2})


def ddti(folder: Path) -> Expected:
    """XML outlines: two on one picture, a truncated one, an empty one, a broken file, a lonely image."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {}
    square = '{"points": [{"x": 2, "y": 3}, {"x": 11, "y": 3}, {"x": 11, "y": 8}, {"x": 2, "y": 8}]'
    other = square.replace('"x": 2', '"x": 20').replace('"x": 11', '"x": 29')
    end = ', "annotation": {}, "regionType": "freehand"}'
    for number in range(1, 11):
        text = {
            3: f"[{square}{end}, {other}{end}]",
            4: f'[{square}, "annotation": {{}}, "regi',
            5: "",
        }
        marks = [(1, text.get(number, f"[{square}{end}]"))]
        if number == 1:
            marks.append((2, f"[{other}{end}]"))
        body = "".join(f"<mark><image>{i}</image><svg>{t}</svg></mark>" for i, t in marks)
        xml = f'<?xml version="1.0" encoding="UTF-8"?><case><number>{number}</number>{body}</case>'
        (folder / f"{number}.xml").write_text(xml)
        for i, _ in marks:
            save(folder / f"{number}_{i}.jpg", picture(10 * number + i))
            sizes[f"{number}_{i}"] = [120 if number == 3 else 60]
    del sizes["5_1"]
    (folder / "11.xml").write_text("<case><mark>")
    save(folder / "12_1.jpg", picture(500))
    return Expected(
        sizes,
        {"training": 8, "validation": 1, "testing": 1},
        {"unpaired_image": 2, "repaired": 1, "unreadable": 1},
    )


def isic(folder: Path) -> Expected:
    """The four folders; a mask of another size and a mask without image."""
    sizes = {}
    for kind, numbers in (("Training", range(12)), ("Test", range(50, 53))):
        for number in numbers:
            name = f"ISIC_{number:07d}"
            save(folder / f"ISBI2016_ISIC_Part1_{kind}_Data/{name}.jpg", picture(number))
            mask = block(4, 4, 10, 6) * np.uint8(255)
            mask = mask[:-1] if number == 11 else mask
            target = folder / f"ISBI2016_ISIC_Part1_{kind}_GroundTruth/{name}_Segmentation.png"
            save(target, mask)
            if number != 11:
                sizes[name] = [60]
    save(
        folder / "ISBI2016_ISIC_Part1_Training_GroundTruth/ISIC_0000099_Segmentation.png",
        block(0, 0, 1, 1),
    )
    return Expected(
        sizes,
        {"training": 10, "validation": 1, "testing": 3},
        {"size_mismatch": 1, "unpaired_mask": 1},
    )


def dfu(folder: Path) -> Expected:
    """Training release; a JPEG that ends too early, and the validation release without masks."""
    root, sizes = folder / "DFUC2022_train_release", {}
    for number in range(100001, 100012):
        save(root / f"DFUC2022_train_images/{number}.jpg", picture(number))
        save(root / f"DFUC2022_train_masks/{number}.png", block(1, 1, 6, 6) * np.uint8(255))
        sizes[str(number)] = [36]
    damaged = root / "DFUC2022_train_images/100011.jpg"
    damaged.write_bytes(damaged.read_bytes()[:200])
    del sizes["100011"]
    save(folder / "DFUC2022_val_release/200001.jpg", picture(1))
    return Expected(sizes, {"training": 8, "validation": 1, "testing": 1}, {"unreadable": 1})


def glas(folder: Path) -> Expected:
    """BMP; every gland has a number of its own, in palette and grey files."""
    root, sizes = folder / "Warwick QU Dataset (Released 2016_07_08)", {}
    for name in [f"train_{i}" for i in range(1, 11)] + ["testA_1", "testA_2", "testB_1"]:
        save(root / f"{name}.bmp", picture(hash_of(name)))
        glands = (
            block(0, 0, 5, 4) + np.uint8(2) * block(10, 10, 5, 4) + np.uint8(3) * block(20, 0, 5, 4)
        )
        mask = Image.fromarray(glands)
        if name == "train_2":
            mask.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0, 0, 0, 200] + [0] * 756)
        mask.save(root / f"{name}_anno.bmp")
        sizes[name] = [60]
    (root / "Grade.csv").write_text("name, patient ID\n")
    return Expected(sizes, {"training": 9, "validation": 1, "testing": 3})


def hash_of(name: str) -> int:
    """A seed from a name, the same in every run."""
    return sum(ord(letter) * 31**i for i, letter in enumerate(name)) % 10_000


def camus(folder: Path) -> Expected:
    """NIfTI with subgroup files; half sequences beside the frames; an unknown value; a missing label."""
    sizes = {}
    groups = {"training": range(1, 4), "validation": [4], "testing": [5]}
    for section, patients in groups.items():
        names = [f"patient{p:04d}" for p in patients]
        target = folder / f"database_split/subgroup_{section}.txt"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("\n".join(names) + "\n")
        for name in names:
            for view in ("2CH", "4CH"):
                for phase in ("ED", "ES"):
                    stem = f"{name}_{view}_{phase}"
                    label = _echo_label(with_atrium=stem != "patient0002_4CH_ES")
                    if stem == "patient0003_2CH_ED":
                        label[30, 20] = 7
                    _nifti(
                        folder / f"database_nifti/{name}/{stem}", hash_of(stem), label, (0.3, 0.3)
                    )
                    sizes[stem] = [40, 60, 24 if label.max() >= 3 else 0]
                path = folder / f"database_nifti/{name}/{name}_{view}_half_sequence.nii.gz"
                nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 2), np.uint8), np.eye(4)), path)
    return Expected(sizes, {"training": 12, "validation": 4, "testing": 4}, {"unknown_values": 1})


def camus_metaimage(folder: Path) -> Expected:
    """The older release: MetaImage, test patients without masks, no subgroup files."""
    sizes = {}
    for patient in range(1, 11):
        name = f"patient{patient:04d}"
        stem = f"{name}_2CH_ED"
        target = folder / "training" / name
        target.mkdir(parents=True)
        _metaimage(target / f"{stem}.mhd", picture(patient, color=False).T)
        _metaimage(target / f"{stem}_gt.mhd", _echo_label())
        sizes[stem] = [40, 60, 24]
    target = folder / "testing" / "patient0001"
    target.mkdir(parents=True)
    _metaimage(target / "patient0011_2CH_ED.mhd", picture(77, color=False).T)
    return Expected(sizes, {"training": 8, "validation": 1, "testing": 1}, {"unpaired_image": 1})


def _echo_label(with_atrium: bool = True) -> np.ndarray:
    """(W, H) with 40 elements of label 1, 60 of 2 and 24 of 3."""
    label = np.zeros(SIZE, dtype=np.uint8)
    label[10:18, 10:15], label[20:30, 10:16] = 1, 2
    if with_atrium:
        label[10:18, 24:27] = 3
    return label


def _metaimage(path: Path, array: np.ndarray) -> None:
    """Save (W, H) as .mhd and .raw."""
    image = itk.image_from_array(np.ascontiguousarray(array.T))
    image.SetSpacing((0.3, 0.15))
    itk.imwrite(image, str(path))


def _nifti(stem: Path, seed: int, label: np.ndarray, spacing: tuple) -> None:
    """Save an image of noise and its label as NIfTI."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([*spacing, 1.0, 1.0])
    image = np.random.default_rng(seed).integers(0, 256, label.shape).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(image, affine), f"{stem}.nii.gz")
    nibabel.save(nibabel.Nifti1Image(label, affine), f"{stem}_gt.nii.gz")


def acdc(folder: Path) -> Expected:
    """Training and testing patients; a frame that Info.cfg names is missing, a header is shifted."""
    sizes = {}
    for patient in [*range(1, 5), 101, 102]:
        section = "training" if patient < 101 else "testing"
        name = f"patient{patient:03d}"
        target = folder / "database" / section / name
        target.mkdir(parents=True)
        (target / "Info.cfg").write_text("ED: 1\nES: 12\nGroup: DCM\nHeight: 184.0\nNbFrame: 30\n")
        for frame in ("01", "12"):
            if (patient, frame) == (102, "12"):
                continue
            stem = f"{name}_frame{frame}"
            label = np.zeros((24, 20, 5), dtype=np.uint8)
            label[4:8, 5:10, 1:4], label[10:12, 5:10, 1:4], label[14:20, 5:10, 1:4] = 1, 2, 3
            image = (
                np.random.default_rng(hash_of(stem)).integers(0, 400, label.shape).astype(np.int16)
            )
            affine = np.diag([-1.5, -1.5, 10.0, 1.0])
            nibabel.save(nibabel.Nifti1Image(image, affine), target / f"{stem}.nii.gz")
            if stem == "patient003_frame01":
                affine = affine.copy()
                affine[0, 3] += 3.0
            nibabel.save(nibabel.Nifti1Image(label, affine), target / f"{stem}_gt.nii.gz")
            sizes[stem] = [60, 30, 90]
        (target / f"{name}_4d.nii.gz").write_bytes(b"not read")
    return Expected(sizes, {"training": 6, "validation": 2, "testing": 3}, {"position_mismatch": 1})


def chaos(folder: Path) -> Expected:
    """DICOM and PNG; names run against the stack for T2; one PNG too few; CT beside it."""
    sizes = {}
    for patient in (1, 2, 3, 5, 8):
        root = folder / "Train_Sets" / "MR" / str(patient)
        levels = _chaos_levels()
        for sequence, phases in (("T1DUAL", ("InPhase", "OutPhase")), ("T2SPIR", ("",))):
            downwards = sequence == "T2SPIR"
            for phase in phases:
                target = root / sequence / "DICOM_anon" / phase
                _dicom_series(target, hash_of(f"{patient}{sequence}{phase}"), 6, downwards)
                short = f"T1_{phase[:-5].lower()}" if phase else "T2"
                sizes[f"{short}_{patient}"] = [72, 24, 12, 6]
            # slice z of the volume is file z of an upward series, file 5 - z of a downward one
            order = reversed(range(6)) if downwards else range(6)
            for number, z in enumerate(order, start=1):
                name = f"IMG-{patient:04d}-{number:05d}.png"
                save(root / sequence / "Ground" / name, levels[:, :, z].T)
    (folder / "Train_Sets/MR/8/T2SPIR/Ground/IMG-0008-00006.png").unlink()
    del sizes["T2_8"]
    save(folder / "Train_Sets/CT/1/Ground/liver_GT_000.png", picture(1, color=False))
    return Expected(
        sizes,
        {
            "training": 9,
            "validation": 2,
            "testing": 3,
        },  # the patient with a case left out validates
        {"size_mismatch": 1, "not_used": 1},
    )


def _chaos_levels() -> np.ndarray:
    """(W, H, Z) grey levels; the right kidney only in the lowest slices."""
    levels = np.zeros((24, 20, 6), dtype=np.uint8)
    levels[2:8, 2:6, 1:4] = 63
    levels[2:5, 10:14, 0:2] = 126
    levels[15:18, 10:14, 0:1] = 189
    levels[15:18, 2:4, 5:6] = 252
    return levels


def _dicom_series(folder: Path, seed: int, count: int, downwards: bool) -> None:
    """An axial series; file n lies at n (upwards) or count - n (downwards) slices of 5.5 mm."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    series = pydicom.uid.generate_uid(entropy_srcs=[str(seed)])
    study = pydicom.uid.generate_uid(entropy_srcs=["study", str(seed)])
    for n in range(count):
        meta = pydicom.dataset.FileMetaDataset()
        meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
        meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid(entropy_srcs=[str(seed), str(n)])
        header = pydicom.dataset.FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        header.is_little_endian, header.is_implicit_VR = True, False
        header.SOPClassUID, header.SOPInstanceUID = (
            meta.MediaStorageSOPClassUID,
            pydicom.uid.generate_uid(entropy_srcs=[str(seed), str(n)]),
        )
        header.StudyInstanceUID, header.SeriesInstanceUID = study, series
        header.FrameOfReferenceUID, header.Modality = study, "MR"
        header.InstanceNumber = n + 1
        place = count - 1 - n if downwards else n
        header.ImagePositionPatient = [-20.0, -30.0, 100.0 + 5.5 * place]
        header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        header.PixelSpacing, header.SliceThickness = [1.5, 1.5], 5.5
        header.Rows, header.Columns, header.SamplesPerPixel = 20, 24, 1
        header.PhotometricInterpretation, header.PixelRepresentation = "MONOCHROME2", 0
        header.BitsAllocated, header.BitsStored, header.HighBit = 16, 12, 11
        header.PixelData = random.integers(0, 1000, (20, 24)).astype(np.uint16).tobytes()
        pydicom.dcmwrite(folder / f"IMG-0001-{n + 1:05d}.dcm", header, write_like_original=False)


def qata_cov19(folder: Path) -> Expected:
    """Train and test set, masks named mask_NAME; interpolated mask values."""
    sizes = {}
    for kind, count in (("Train", 10), ("Test", 3)):
        for i in range(count):
            name = f"covid_{i}" if kind == "Train" else f"sub-S0{i}_run-1"
            root = folder / f"QaTa-COV19/QaTa-COV19-v2/{kind} Set"
            save(root / f"Images/{name}.png", picture(i + 50 * (kind == "Test"), color=False))
            mask = block(3, 3, 8, 8) * np.uint8(255)
            mask[3, 3] = 40
            save(root / f"Ground-truths/mask_{name}.png", mask)
            sizes[name] = [64]
    return Expected(sizes, {"training": 8, "validation": 2, "testing": 3})


def qata_lvit(folder: Path) -> Expected:
    """The same in LViT's folders."""
    sizes = {}
    for kind, count in (("Train", 3), ("Val", 2), ("Test", 2)):
        for i in range(count):
            name = f"{kind.lower()}_{i}"
            save(folder / f"{kind}_Folder/img/{name}.png", picture(hash_of(name), color=False))
            save(folder / f"{kind}_Folder/labelcol/mask_{name}.png", block(0, 0, 3, 3))
            sizes[name] = [9]
    return Expected(sizes, {"training": 3, "validation": 2, "testing": 2})


def mosmed_plus(folder: Path) -> Expected:
    """Slices of several scans; masks 0/1; empty slices."""
    sizes = {}
    for i, scan in enumerate(["Jun_coronacases_case1", "Jun_radiopaedia_10_85902_1"] +
                             [f"Morozov_study_{n:04d}" for n in range(255, 263)]):  # fmt: skip
        for number in (20, 21):
            name = f"{scan}_{number}"
            save(folder / f"frames/{name}.png", picture(2 * i + number, color=False))
            save(folder / f"masks/{name}.png", block(5, 5, 4, 0 if number == 20 and i == 0 else 5))
            sizes[name] = [0 if number == 20 and i == 0 else 20]
    return Expected(
        sizes,
        {"training": 16, "validation": 2, "testing": 2},
        {"empty_mask": 1, "duplicate_image": 0},
    )


def mosmed_lvit(folder: Path) -> Expected:
    """The same in LViT's folders."""
    sizes = {}
    for kind, count in (("Train", 3), ("Val", 2), ("Test", 2)):
        for i in range(count):
            name = f"{kind}_study_{i}"
            save(folder / f"{kind}_Folder/images/{name}.png", picture(hash_of(name), color=False))
            save(folder / f"{kind}_Folder/labels/{name}.png", block(0, 0, 3, 3))
            sizes[name] = [9]
    return Expected(sizes, {"training": 3, "validation": 2, "testing": 2})


Builder = Callable[[Path], Expected]
MINIATURES: dict[str, list[Builder]] = {
    "acdc": [acdc],
    "bkai_igh": [bkai_igh],
    "busi": [busi],
    "camus": [camus, camus_metaimage],
    "chaos": [chaos],
    "cvc_clinicdb": [cvc_clinicdb],
    "ddti": [ddti],
    "dfu": [dfu],
    "glas": [glas],
    "isic": [isic],
    "kvasir_seg": [kvasir_seg],
    "mosmed_plus": [mosmed_plus, mosmed_lvit],
    "qata_cov19": [qata_cov19, qata_lvit],
}


def write_medvlsm_split(folder: Path, lists: dict[str, list[str]]) -> Path:
    """Split files as medvlsm has them: an entry per mask, with prompts that are not needed."""
    folder.mkdir(parents=True)
    for name, images in lists.items():
        entries = [
            {"img_name": image, "mask_name": image, "prompts": {"p0": ""}} for image in images
        ]
        (folder / f"{name}.json").write_text(json.dumps(entries))
    return folder
