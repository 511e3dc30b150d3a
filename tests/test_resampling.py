"""Resampling beside the other entries of a request, and the way back to the image's grid."""

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, Resized
from PIL import Image

from conceptseg.evaluation import evaluate_case
from conceptseg.resampling import BilinearInvertd, RequestSpacingd


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


def test_a_ramp_made_smaller_by_area_comes_back_as_a_ramp():
    transform = Compose([Resized("image", (24, 15), mode="area")])
    ramp = torch.arange(96.0)[None, :, None].expand(1, 96, 60)
    data = transform({"image": MetaTensor(ramp)})
    data["pred"] = data["image"].clone()
    back = BilinearInvertd("pred", transform, orig_keys="image")(data)
    assert torch.allclose(back["pred"][:, 2:-2].as_tensor(), ramp[:, 2:-2])
    in_blocks = Invertd("pred", transform, orig_keys="image", nearest_interp=False)(data)
    assert not torch.allclose(in_blocks["pred"][:, 2:-2].as_tensor(), ramp[:, 2:-2])


def test_the_image_that_shows_the_way_stays_as_it_was():
    transform = Compose([Resized("image", (8, 8), mode="area")])
    data = transform({"image": MetaTensor(torch.rand(1, 16, 12))})
    data["pred"] = data["image"].clone()
    back = BilinearInvertd("pred", transform, orig_keys="image")(data)
    assert back["image"] is data["image"]
    assert back["image"].applied_operations[0]["extra_info"]["mode"] == "area"
    both = BilinearInvertd(["pred", "image"], transform, orig_keys="image")(data)
    assert both["image"].shape == both["pred"].shape == (1, 16, 12)
    assert torch.allclose(both["image"].as_tensor(), both["pred"].as_tensor())


@pytest.mark.parametrize("name", ["polyp_endoscopy_segmentation", "wound_photo_segmentation"])
def test_masks_of_photographs_come_back_smooth(repository, tmp_path, name):
    parser = ConfigParser()
    parser.read_config(str(repository / "bundles" / name / "configs" / "inference.yaml"))
    there = parser.get_parsed_content("preprocessing")
    steps = parser.get_parsed_content("postprocessing").transforms[:2]
    columns, rows = np.meshgrid(np.arange(1920), np.arange(1080), indexing="ij")
    disc = (columns - 700) ** 2 + (rows - 400) ** 2 < 150**2
    Image.fromarray(disc.T.astype(np.uint8) * 255).convert("RGB").save(tmp_path / "a.png")
    data = there({"image": str(tmp_path / "a.png")})
    share = data["image"][:1]  # of every pixel that the disc covers, as the best network would say
    data["pred"] = MetaTensor(torch.cat([1 - share, share]))
    before = Invertd(["pred", "image"], there, orig_keys="image", nearest_interp=False)
    dice = []
    for back in (before, steps[0]):
        mask = steps[1](back(dict(data)))["pred"]
        dice.append(evaluate_case(mask, disc, ["disc"])[0]["dice"])
    assert dice[1] > 0.997
    assert 1 - dice[1] < (1 - dice[0]) / 3
