"""What an image tells of its grid."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from conceptseg.grid import directions_of, spacing_of


def volume(affine, **meta):
    return MetaTensor(torch.zeros(1, 4, 5, 6), torch.as_tensor(affine), meta)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], ("right", "anterior", "superior")),
        ([[-1, 0, 0], [0, -1, 0], [0, 0, 1]], ("left", "posterior", "superior")),
        # the first index runs to anterior, the second to inferior, the third to left
        ([[0, 2, 0], [0, 0, -0.5], [-3, 0, 0]], ("anterior", "inferior", "left")),
        # oblique: the main direction counts
        ([[0.9, 0.4, 0], [-0.4, 0.9, 0], [0, 0.3, -0.9]], ("right", "anterior", "inferior")),
    ],
)
def test_the_axes_of_a_volume_are_named_by_where_they_lead(columns, words):
    affine = np.eye(4)
    affine[:3, :3] = np.transpose(columns)
    affine[:3, 3] = -90, 120, 7  # the origin says nothing
    assert directions_of(volume(affine)) == words


def test_a_volume_without_affine_is_taken_as_ras_and_a_picture_as_seen():
    assert directions_of(np.zeros((1, 4, 5, 6))) == ("right", "anterior", "superior")
    assert directions_of(np.zeros((3, 4, 5))) == ("right", "bottom")
    assert directions_of(MetaTensor(torch.zeros(3, 4, 5), torch.diag(-torch.ones(4)))) == (
        "right",
        "bottom",
    )


def test_spacing_is_told_by_volumes_and_by_pictures_that_know_it():
    affine = np.diag([-0.5, 2.0, 3.0, 1.0])
    assert spacing_of(volume(affine)) == (0.5, 2.0, 3.0)
    assert spacing_of(volume(affine, spacing_known=False)) is None
    assert spacing_of(np.zeros((1, 4, 5, 6))) is None
    picture = MetaTensor(torch.zeros(3, 4, 5), torch.diag(torch.tensor([0.2, 0.4, 1, 1])))
    assert spacing_of(picture) is None  # 1 px each is no size
    picture.meta["spacing_known"] = True
    assert spacing_of(picture) == pytest.approx((0.2, 0.4))
