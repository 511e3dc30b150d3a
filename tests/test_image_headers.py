"""Size and position from headers: the same as from reading the pixels, for every format."""

import itk
import nibabel
import numpy as np
import pytest
from PIL import Image

from conceptseg import image_headers
from conceptseg.dicom_series import write_mr_series
from conceptseg.image_headers import shape_and_affine
from conceptseg.image_io import ConceptImageReader

VOLUME = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
OBLIQUE = np.array([[0, -2.0, 0, 7], [1.5, 0, 0.1, -3], [0, 0.2, 3, 5], [0, 0, 0, 1.0]])


def nifti(path, array=VOLUME):
    """Save a NIfTI file with oblique axes."""
    nibabel.save(nibabel.Nifti1Image(array, OBLIQUE), path)


def with_itk(path, array=VOLUME):
    """Save an NRRD or MetaImage file with turned axes."""
    image = itk.image_from_array(array)
    image.SetSpacing([0.5, 2.0, 3.0][: array.ndim])
    image.SetOrigin([4.0, -5.0, 6.0][: array.ndim])
    turned = [[0, -1, 0], [1, 0, 0], [0, 0, 1]] if array.ndim == 3 else [[0, -1], [1, 0]]
    image.SetDirection(itk.matrix_from_array(np.array(turned, dtype=float)))
    itk.imwrite(image, str(path))


def photo(path, orientation=1):
    """Save a picture of 7 columns and 4 rows with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (7, 4)).save(path, exif=exif)


def dicom(path):
    """Save one slice of a DICOM series."""
    write_mr_series(path.parent / "series", VOLUME, "one", (1.0, 2.0, 3.0))
    (path.parent / "series" / "0002.dcm").rename(path)


FILES = [
    ("a.png", photo),
    ("a.jpg", lambda path: photo(path, 3)),
    ("turned.jpg", lambda path: photo(path, 6)),
    ("a.nii.gz", nifti),
    ("flat.nii.gz", lambda path: nifti(path, VOLUME[0])),
    ("a.nii", lambda path: nifti(path, VOLUME[..., None])),
    ("a.nrrd", with_itk),
    ("a.mha", with_itk),
    ("flat.nrrd", lambda path: with_itk(path, VOLUME[0])),
    ("a.dcm", dicom),
]


@pytest.mark.parametrize(("name", "write"), FILES, ids=[name for name, _ in FILES])
def test_header_tells_what_the_pixels_do(tmp_path, monkeypatch, name, write):
    write(tmp_path / name)
    reader = ConceptImageReader()
    array, meta = reader.get_data(reader.read(tmp_path / name))
    monkeypatch.setattr(image_headers, "ConceptImageReader", None)  # the pixels stay unread
    shape, affine = shape_and_affine(tmp_path / name)
    assert shape == array.shape[1:]
    np.testing.assert_allclose(affine, meta["affine"], atol=1e-6)


def test_a_folder_of_slices_is_read(tmp_path):
    write_mr_series(tmp_path / "series", VOLUME, "one", (1.0, 2.0, 3.0))
    shape, affine = shape_and_affine(tmp_path / "series")
    assert shape == (3, 4, 5) and abs(np.linalg.det(affine)) == pytest.approx(6)


def test_axes_are_those_asked_for(tmp_path):
    nifti(tmp_path / "slice.nii.gz", VOLUME[..., :1])
    nifti(tmp_path / "volume.nii.gz")
    assert shape_and_affine(tmp_path / "slice.nii.gz", 2)[0] == (3, 4)
    assert shape_and_affine(tmp_path / "slice.nii.gz")[0] == (3, 4, 1)
    with pytest.raises(ValueError, match="one slice"):
        shape_and_affine(tmp_path / "volume.nii.gz", 2)


def test_unusable_files_have_the_error_of_the_reader(tmp_path):
    (tmp_path / "broken.nii.gz").write_bytes(b"nothing")
    (tmp_path / "notes.txt").write_text("nothing")
    singular = nibabel.Nifti1Image(VOLUME, None)
    singular.header.set_sform(np.diag([1.0, 0.0, 1.0, 1.0]), code=1)
    singular.to_filename(tmp_path / "singular.nii")
    nifti(tmp_path / "four.nii", np.zeros((2, 2, 2, 2), dtype=np.int16))
    for name, words in (
        ("broken.nii.gz", "damaged"),
        ("notes.txt", "Expected one of"),
        ("singular.nii", "invertible affine"),
        ("four.nii", "4 axes"),
    ):
        with pytest.raises(ValueError, match=words):
            shape_and_affine(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        shape_and_affine(tmp_path / "missing.nii.gz")
