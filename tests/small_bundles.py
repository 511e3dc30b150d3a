"""Small networks trained on phantoms, for tests of servers."""

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
import yaml
from monai.bundle import ConfigParser
from PIL import Image

VOLUME_AFFINE = np.array([[-1.2, 0, 0, 20], [0, 1.0, 0.1, -30], [0, -0.1, 1.0, 5], [0, 0, 0, 1.0]])
KEPT_TRANSFORMS = {"RandFlipd", "SliceSamplesd", "ConceptPromptd"}


def volume_phantom(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Image and label map (32, 40, 24): a body left and right, front half label 1, back half 2."""
    rng = np.random.default_rng(seed)
    x, y, z = np.meshgrid(np.arange(32), np.arange(40), np.arange(24), indexing="ij")
    label = np.zeros(x.shape, dtype=np.uint8)
    for centre in (8, 23):
        middle = 20 + rng.uniform(-2, 2)
        inside = ((x - centre) / 5) ** 2 + ((y - middle) / 12) ** 2 + ((z - 12) / 7) ** 2 < 1
        label[inside] = np.where(y[inside] > middle, 1, 2)
    image = rng.normal(0, 0.2, label.shape) + np.array([0, 2, 4])[label]
    return image.astype(np.float32), label


def photo_phantom(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """RGB image (64, 80, 3) and 0/255 mask (64, 80) with a red disc left or right."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :80]
    centre = (20, 60)[seed % 2] + rng.uniform(-4, 4)
    mask = (x - centre) ** 2 + (y - 30) ** 2 < rng.uniform(8, 12) ** 2
    image = rng.integers(60, 90, (64, 80, 3))
    image[mask] = [210, 60, 50]
    return image.astype(np.uint8), mask.astype(np.uint8) * 255


def write_volume(path: Path, array: np.ndarray) -> None:
    """NIfTI with a flipped first axis and oblique slices."""
    nib.save(nib.Nifti1Image(array, VOLUME_AFFINE), path)


def small_bundle(source: Path, target: Path, changes: dict) -> Path:
    """Copy of a bundle's configs with `changes` and a small network."""
    for name in ("inference", "train"):
        config = yaml.safe_load((source / "configs" / f"{name}.yaml").read_text())
        config |= {k: v for k, v in changes.items() if k in config}
        config["network_def"]["backbone"]["feature_channels"] = [8, 12, 16, 24]
        config["network_def"]["decoder"]["feature_channels"] = [8, 12, 16, 24]
        # so small a network draws the phantoms' borders better without
        config["network_def"]["decoder"]["deep_supervision"] = False
        train = config.get("train", {})
        train["random_transforms"] = [
            transform
            for transform in train.get("random_transforms", [])
            if transform["_target_"].split(".")[-1] in KEPT_TRANSFORMS  # phantoms need no more
        ]
        for transform in train["random_transforms"]:
            if transform["_target_"].endswith("ConceptPromptd"):  # short prompts are enough here
                transform |= {"contradiction_share": 0.0, "attribute_dropout": 0.8}
        if not train["random_transforms"]:
            del train["random_transforms"]
        (target / "configs").mkdir(parents=True, exist_ok=True)
        (target / "configs" / f"{name}.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return target


def train_bundle(bundle: Path, data: Path, epochs: int) -> None:
    """Train a bundle's network into its models folder."""
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "train.yaml"))
    output = data / "run"
    parser.update(
        {
            "bundle_root": str(bundle),
            "dataset_dir": str(data),
            "output_dir": str(output),
            "max_epochs": epochs,
            "val_interval": epochs,
            "val_fraction": 0.2,
            "test_fraction": 0.0,
            "device": torch.device("cpu"),
            "autocast": False,
            "lr_scheduler#warmup_steps": 5,
        }
    )
    parser.get_parsed_content("initialize")
    parser.get_parsed_content("run")
    shutil.rmtree(output)


def train_volume_bundle(repository: Path, folder: Path, data: Path) -> None:
    """The hippocampus bundle, small, in `folder`."""
    for part in ("images", "labels"):
        (data / part).mkdir()
    for seed in range(8):
        image, label = volume_phantom(seed)
        write_volume(data / "images" / f"{seed}.nii.gz", image)
        write_volume(data / "labels" / f"{seed}.nii.gz", label)
    volume = small_bundle(
        repository / "bundles" / "hippocampus_mr_segmentation",
        folder / "hippocampus_mr_segmentation",
        {
            "slice_context": 0,
            "slice_size": 40,
            "learning_rate": 0.006,
            "batch_volumes": 2,
            "num_workers": 0,
            "paired": False,
            "mode_shares": [0.3, 0.5, 0.1, 0.1],  # prompts matter more here than accuracy
        },
    )
    train_bundle(volume, data, epochs=80)


def train_photo_bundle(repository: Path, folder: Path, data: Path) -> None:
    """The polyp bundle, small, in `folder`."""
    for part in ("images", "masks"):
        (data / part).mkdir()
    for seed in range(16):
        image, mask = photo_phantom(seed)
        Image.fromarray(image).save(data / "images" / f"{seed}.png")
        Image.fromarray(mask).save(data / "masks" / f"{seed}.png")
    photo = small_bundle(
        repository / "bundles" / "polyp_endoscopy_segmentation",
        folder / "polyp_endoscopy_segmentation",
        {
            "image_size": 64,
            "learning_rate": 0.01,
            "batch_size": 4,
            "paired": False,
            "mode_shares": [0.5, 0.25, 0.15, 0.1],
        },
    )
    train_bundle(photo, data, epochs=45)
