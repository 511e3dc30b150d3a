"""Resampling beside the other entries of a request."""

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd

from conceptseg.resampling import RequestSpacingd


def _request() -> dict:
    image = MetaTensor(torch.rand(1, 6, 4, 4), affine=torch.diag(torch.tensor([2.0, 1, 1, 1])))
    image.meta["filename_or_obj"] = "x.nii.gz"
    return {"image": image, "image_path": "x.nii.gz", "count": 3}


def test_text_entries_pass_by_and_the_image_is_resampled():
    result = RequestSpacingd("image", pixdim=(1, 1, 1), mode="nearest")(_request())
    assert result["image_path"] == "x.nii.gz" and result["count"] == 3
    assert result["image"].shape == (1, 11, 4, 4)


def test_resampling_is_inverted():
    transform = Compose([RequestSpacingd("image", pixdim=(1, 1, 1), mode="nearest")])
    request = _request()
    before = request["image"].numpy().copy()
    data = transform(request)
    data["pred"] = data["image"].clone()
    back = Invertd("pred", transform, orig_keys="image", nearest_interp=True)(data)
    assert np.allclose(back["pred"].numpy(), before)
