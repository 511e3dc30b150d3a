"""Generated images with known answers, written as a user's folder would look."""

from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image

AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])  # LPS order of voxels: not the network's own


def two_part_volume(seed: int = 0, shape: tuple = (20, 28, 12)) -> tuple[np.ndarray, np.ndarray]:
    """A bright ellipsoid in noise, its anterior half label 1 and its posterior half label 2.

    The second voxel axis runs towards posterior (affine `AFFINE`).
    """
    random = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")).astype(float)
    centre = np.array(shape) / 2 + random.uniform(-1, 1, 3)
    radii = np.array([5.0, 9.0, 4.0])
    inside = (((grid - centre[:, None, None, None]) / radii[:, None, None, None]) ** 2).sum(0) < 1
    label = np.where(inside, np.where(grid[1] < centre[1], 1, 2), 0).astype(np.uint8)
    image = 100 + 200 * inside + random.normal(0, 10, shape)
    return image.astype(np.float32), label


def write_volumes(folder: Path, count: int = 6) -> Path:
    """`count` phantom volumes in images/ and labels/ below `folder`."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for i in range(count):
        image, label = two_part_volume(i)
        nib.save(nib.Nifti1Image(image, AFFINE), folder / "images" / f"case_{i}.nii.gz")
        nib.save(nib.Nifti1Image(label, AFFINE), folder / "labels" / f"case_{i}.nii.gz")
    return folder


def disc_photo(seed: int = 0, size: tuple = (64, 48)) -> tuple[np.ndarray, np.ndarray]:
    """A red disc on a pinkish ground: RGB (rows, columns, 3) and mask 0/255, both uint8."""
    random = np.random.default_rng(seed)
    width, height = size
    rows, columns = np.mgrid[:height, :width]
    x, y = random.uniform(14, width - 14), random.uniform(14, height - 14)
    inside = (columns - x) ** 2 + (rows - y) ** 2 < 10**2
    image = np.where(inside[..., None], (200, 40, 40), (230, 170, 160)).astype(float)
    image += random.normal(0, 5, image.shape)
    return image.clip(0, 255).astype(np.uint8), (inside * 255).astype(np.uint8)


def write_photos(folder: Path, count: int = 8) -> Path:
    """`count` phantom photographs in images/ and masks/ below `folder`."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for i in range(count):
        image, mask = disc_photo(i)
        Image.fromarray(image).save(folder / "images" / f"{i}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{i}.png")
    return folder
