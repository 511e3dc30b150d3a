"""A volume written as DICOM comes back where it was."""

import numpy as np
import pytest

from conceptseg.dicom_series import write_mr_series
from conceptseg.image_io import ConceptImageReader


def test_series_has_the_volumes_voxels_at_their_places(tmp_path):
    volume = np.zeros((6, 8, 4), dtype=np.float32)
    volume[5, 0, 3] = 2.0  # right, posterior, superior
    write_mr_series(tmp_path, volume, "phantom", (1.0, 1.5, 2.0), (-5.0, -10.5, 7.0))
    reader = ConceptImageReader()
    array, meta = reader.get_data(reader.read(str(tmp_path)))
    (found,) = np.argwhere(array[0] == array.max())
    # RAS position: x of the last voxel is minus the first pixel's LPS x; y and z likewise
    world = meta["affine"] @ [*found, 1]
    np.testing.assert_allclose(world[:3], [5.0, 10.5 - 7 * 1.5, 7 + 3 * 2.0], atol=1e-4)


def test_same_name_gives_the_same_series(tmp_path):
    volume = np.arange(24.0).reshape(2, 3, 4)
    names = [write_mr_series(tmp_path / n, volume, n) for n in ("a", "b")]
    assert write_mr_series(tmp_path / "a", volume, "a") == names[0] != names[1]
    assert len(list((tmp_path / "a").glob("*.dcm"))) == 4


@pytest.mark.parametrize("volume", [np.ones((2, 2, 2)), np.arange(4.0).reshape(2, 2)])
def test_volume_that_shows_nothing_is_refused(tmp_path, volume):
    with pytest.raises(ValueError, match="different intensities"):
        write_mr_series(tmp_path, volume, "flat")
