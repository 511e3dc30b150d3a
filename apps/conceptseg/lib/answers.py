"""The answer to an inference request: the mask file and everything a mask cannot hold."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from monai.data import MetaTensor
from monailabel.transform.writer import write_itk
from PIL import Image

from conceptseg.atomic import atomic_path
from conceptseg.prediction import Prediction
from conceptseg.results import describe_readout, mean_confidence

from .bundle import Bundle
from .problems import bad_request
from .terms import label_info

EXTENSIONS = (".nii.gz", ".nii", ".nrrd", ".png")
# Of its own: a client on the same computer saves answers in the common one under the same name.
_RESULTS = tempfile.TemporaryDirectory(prefix="conceptseg_results_")
_DTYPES = ("uint8", "uint16", "int16", "int32", "float32")


def wanted_extension(request: Mapping[str, Any], is_photo: bool) -> str:
    """Suffix of the mask file; error 400 for one that cannot be written."""
    value = request.get("result_extension") or (".png" if is_photo else ".nii.gz")
    if value not in EXTENSIONS:
        raise bad_request(
            f"Expected 'result_extension' out of {', '.join(EXTENSIONS)}, got {value!r}."
        )
    if value == ".png" and not is_photo:
        raise bad_request(
            "Expected 'result_extension' .nii.gz or .nrrd for an image with a position in space,"
            " got .png; choose one of those."
        )
    return value


def wanted_dtype(request: Mapping[str, Any]) -> np.dtype:
    """Number type of the mask; error 400 for an unknown one."""
    value = str(request.get("result_dtype") or "uint8")
    if value not in _DTYPES:
        raise bad_request(f"Expected 'result_dtype' out of {', '.join(_DTYPES)}, got {value!r}.")
    return np.dtype(value)


def write_mask(mask: np.ndarray, affine: np.ndarray, is_photo: bool, request: Mapping) -> str:
    """Write a label map (*spatial) to a temporary file, which the server removes after sending.

    Args:
        mask: label map on the image's grid; photographs in (W, H) order.
        affine: (4, 4) voxel to RAS.
        is_photo: the image has no position in space.
        request: for `result_extension`, `result_dtype` and `result_compress`.

    Returns:
        Path of the file.
    """
    extension, dtype = wanted_extension(request, is_photo), wanted_dtype(request)
    handle, path = tempfile.mkstemp(suffix=extension, prefix="conceptseg_", dir=_RESULTS.name)
    os.close(handle)
    if extension == ".png":
        with atomic_path(path) as temporary:
            Image.fromarray(mask.astype(np.uint8).T).save(temporary)
        return path
    compress = str(request.get("result_compress", True)).lower() not in ("false", "0")
    volume = mask if mask.ndim == 3 or is_photo else mask[..., None]
    if extension.startswith(".nii"):
        _write_nifti(volume, affine, dtype, path)
    else:
        write_itk(volume, path, None if is_photo else affine, dtype, compress)
    return path


def _write_nifti(mask: np.ndarray, affine: np.ndarray, dtype: np.dtype, path: str) -> None:
    """Write NIfTI with exactly the image's affine."""
    import nibabel

    image = nibabel.Nifti1Image(mask.astype(dtype), affine)
    image.header.set_xyzt_units("mm")
    with atomic_path(path) as temporary:
        nibabel.save(image, temporary)


def describe(
    bundle: Bundle,
    prediction: Prediction,
    mask: np.ndarray,
    image: MetaTensor,
    scores: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Names, colours, codes and, per label, presence, volume, uncertainty and concepts read out.

    Args:
        bundle: for the names.
        prediction: of the request.
        mask: label map (*spatial) on the image's grid.
        image: preprocessed image; its metadata tell the voxel size of the file.
        scores: uncertainty of each label, if it was asked for.
    """
    known = bool(image.meta.get("spacing_known", False))
    affine = np.asarray(image.meta["original_affine"], dtype=np.float64)
    voxel_ml = float(abs(np.linalg.det(affine[:3, :3]))) / 1000 if known else None
    info = label_info(bundle.keywords)
    labels = {}
    for i, entry in enumerate(info):
        name, voxels = entry["name"], int((mask == entry["idx"]).sum())
        readout = prediction.readout[i]
        labels[name] = {
            "value": entry["idx"],
            "asked": name in prediction.asked,
            "present": voxels > 0,
            "presence": round(float(prediction.presence[i]), 4),
            "voxels": voxels,
            "volume_ml": None
            if voxel_ml is None or bundle.dimension == 2
            else round(voxels * voxel_ml, 4),
            "concepts": describe_readout(name, readout),
            "concept_values": readout,
            "confidence": mean_confidence(readout),
        }
        if scores is not None:
            labels[name]["uncertainty"] = round(scores[i], 4)
    result = {
        "label_names": bundle.labels,
        "label_info": [{**e, "present": labels[e["name"]]["present"]} for e in info],
        "labels": labels,
        "absent": [name for name, entry in labels.items() if not entry["present"]],
        "centroids": centroids(bundle, mask),
    }
    if scores is not None:
        result["uncertainty"] = round(max(scores), 4)
    return result


def centroids(bundle: Bundle, mask: np.ndarray) -> dict[str, list[str]]:
    """Value and centre voxel of each present label, as OHIF reads them."""
    result = {}
    for name, value in bundle.labels.items():
        voxels = np.argwhere(mask == value)
        if len(voxels):
            result[name] = [str(value), *(str(round(float(x))) for x in voxels.mean(axis=0))]
    return result


def is_photo_file(image: MetaTensor) -> bool:
    """True when the image's file has no position in space."""
    return bool(image.meta.get("is_photo", False))
