"""Every accepted format loads with known values; every bad file is refused with its name."""

import datetime
import gzip
import json
import logging
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, SaveImaged
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from conceptseg.atomic import atomic_path
from conceptseg.image_formats import case_name, case_names, image_kind, segmentation_suffix
from conceptseg.image_io import (
    AtomicNibabelWriter,
    AtomicPILWriter,
    CheckImaged,
    CheckLabeld,
    ConceptImageReader,
    LabelMapd,
    SaveSegmentationd,
    ThresholdMaskd,
)

WIDTH, HEIGHT = 7, 5


def load(path, **options):
    """Load through MONAI's LoadImaged, as the bundle configs do."""
    return LoadImaged("image", reader=ConceptImageReader(**options))({"image": str(path)})["image"]


def ramp(dtype=np.uint8, channels=None):
    """(H, W) or (H, W, C) with the value 10 * row + column (+ 100 * channel)."""
    plane = 10 * np.arange(HEIGHT)[:, None] + np.arange(WIDTH)
    if channels:
        plane = plane[..., None] + 50 * np.arange(channels)
    return plane.astype(dtype)


def write_nifti(path, array, affine=None):
    """Save an array as NIfTI and give the path."""
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine), path)
    return path


def write_dicom(
    path, pixels, position=(0, 0, 0), series="1.2.3", photometric="MONOCHROME2", **tags
):
    """Save (rows, columns) pixels as a DICOM slice, 0.5 mm between rows and 0.25 mm columns."""
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"  # MR image storage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header = pydicom.Dataset()
    header.file_meta = meta
    header.SOPClassUID, header.SOPInstanceUID = (
        meta.MediaStorageSOPClassUID,
        meta.MediaStorageSOPInstanceUID,
    )
    header.SeriesInstanceUID, header.StudyInstanceUID = series, "1.2"
    header.Modality, header.SeriesDate = "MR", datetime.date(2020, 1, 1).strftime("%Y%m%d")
    header.Rows, header.Columns = pixels.shape
    header.PixelSpacing = [0.5, 0.25]
    header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    header.ImagePositionPatient = list(position)
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, photometric
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, 16, 15
    header.PixelRepresentation = 0
    for name, value in tags.items():
        setattr(header, name, value)
    header.PixelData = pixels.astype("<u2").tobytes()
    header.is_little_endian, header.is_implicit_VR = True, False
    pydicom.dcmwrite(path, header, write_like_original=False)
    return path


def write_series(folder, slices=4, **options):
    """Save a series of slices 3 mm apart, in an order that file names do not tell."""
    folder.mkdir(exist_ok=True, parents=True)
    for index in range(slices):
        write_dicom(
            folder / f"{(index * 7) % 5}.dcm",
            ramp(np.uint16) + 100 * index,
            (0, 0, 3.0 * index),
            **options,
        )
    return folder


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "tiff"])
def test_a_lossless_picture_loads_as_channel_width_height(tmp_path, suffix):
    Image.fromarray(ramp(channels=3)).save(tmp_path / f"a.{suffix}")
    image = load(tmp_path / f"a.{suffix}")
    assert image.shape == (3, WIDTH, HEIGHT)
    assert image[2, 4, 3] == 34 + 100
    assert not image.meta["spacing_known"]


def test_a_jpeg_loads_close_to_its_values(tmp_path):
    Image.fromarray(np.full((HEIGHT, WIDTH, 3), 90, np.uint8)).save(tmp_path / "a.JPG")
    assert abs(load(tmp_path / "a.JPG") - 90).max() <= 2


def test_a_sixteen_bit_png_comes_as_fractions_of_255_without_quantisation(tmp_path):
    values = np.array([[0, 1, 257], [1000, 40000, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    image = load(tmp_path / "a.png")
    assert torch.allclose(image[0], torch.tensor(values.T / 257.0).float())


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize(("most", "bits"), [(1023, 10), (3000, 12), (4095, 12), (40000, 16)])
def test_a_sixteen_bit_picture_fills_255_by_the_bits_that_it_uses(
    tmp_path, caplog, suffix, most, bits
):
    values = np.array([[0, most // 2, most]], np.uint16)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    with caplog.at_level(logging.INFO):
        image = load(tmp_path / f"a.{suffix}", channels=3, spatial_dims=2)
    assert np.allclose(image[2], values.T / (2**bits - 1) * 255, rtol=1e-6)
    assert f"values from 0 to {most} brought to 0..255" in caplog.text


def test_eight_bits_in_a_sixteen_bit_picture_keep_their_values(tmp_path):
    Image.fromarray(ramp(np.uint16)).save(tmp_path / "a.png")
    assert np.array_equal(load(tmp_path / "a.png", spatial_dims=2)[0], ramp().T)


def test_a_big_endian_sixteen_bit_picture_loads(tmp_path):
    picture = Image.frombytes("I;16B", (2, 1), np.array([0, 4095], ">u2").tobytes())
    picture.save(tmp_path / "a.tif")
    assert load(tmp_path / "a.tif", spatial_dims=2).flatten().tolist() == [0, 255]


@pytest.mark.parametrize("most", [300, 4095])
def test_a_sixteen_bit_label_keeps_its_numbers(tmp_path, most):
    Image.fromarray(np.array([[0, most]], np.uint16)).save(tmp_path / "a.png")
    assert load(tmp_path / "a.png", is_label=True).flatten().tolist() == [0, most]


@pytest.mark.parametrize("suffix", ["nii.gz", "tif"])
def test_a_float_picture_of_0_to_1_is_brought_to_255(tmp_path, suffix):
    values = np.linspace(0, 0.9, 20, dtype=np.float32).reshape(4, 5)
    path = tmp_path / f"a.{suffix}"
    if suffix == "tif":
        Image.fromarray(values).save(path)
    else:
        write_nifti(path, values.T[..., None])
    assert np.allclose(load(path, spatial_dims=2)[0], values.T * 255, atol=1e-4)
    assert np.array_equal(load(path, spatial_dims=2, is_label=True)[0], values.T)


def test_integers_and_volumes_of_0_to_1_keep_their_values(tmp_path):
    Image.fromarray(np.array([[0, 1]], np.uint8)).save(tmp_path / "a.png")
    assert load(tmp_path / "a.png", spatial_dims=2).max() == 1
    volume = write_nifti(tmp_path / "a.nii", np.linspace(0, 1, 8).reshape(2, 2, 2))
    assert load(volume).max() == 1


def test_transparency_is_dropped_with_a_message(tmp_path, caplog):
    Image.fromarray(ramp(channels=4)).save(tmp_path / "a.png")
    with caplog.at_level(logging.INFO):
        image = load(tmp_path / "a.png")
    assert image.shape == (3, WIDTH, HEIGHT)
    assert image[1, 2, 0] == 52
    assert "transparency dropped" in caplog.text


def test_a_palette_picture_is_rgb_as_image_and_indices_as_label(tmp_path):
    picture = Image.fromarray(np.array([[0, 1, 2]], np.uint8), mode="P")
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
    picture.save(tmp_path / "a.png")
    assert load(tmp_path / "a.png")[:, 1, 0].tolist() == [255, 0, 0]
    assert load(tmp_path / "a.png", is_label=True)[0, :, 0].tolist() == [0, 1, 2]


def test_a_bilevel_picture_is_0_255_as_image_and_0_1_as_label(tmp_path):
    Image.fromarray(np.array([[False, True]])).save(tmp_path / "a.png")
    assert load(tmp_path / "a.png").flatten().tolist() == [0, 255]
    assert load(tmp_path / "a.png", is_label=True).flatten().tolist() == [0, 1]


def test_a_cmyk_jpeg_becomes_rgb(tmp_path):
    Image.new("CMYK", (WIDTH, HEIGHT), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    red, green, blue = load(tmp_path / "a.jpg")[:, 3, 2].tolist()
    assert red > 200
    assert max(green, blue) < 60


def test_the_exif_orientation_is_applied_unless_refused(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its left side: shown turned clockwise
    Image.fromarray(ramp()).save(tmp_path / "a.png", exif=exif)
    turned = load(tmp_path / "a.png")
    assert turned.shape == (1, HEIGHT, WIDTH)
    assert turned[0, 0, 0] == 10 * (HEIGHT - 1)  # the stored bottom left comes to the top left
    assert load(tmp_path / "a.png", apply_exif=False).shape == (1, WIDTH, HEIGHT)


def test_grey_is_repeated_and_colour_reduced_to_the_channels_asked_for(tmp_path):
    Image.fromarray(ramp()).save(tmp_path / "grey.png")
    repeated = load(tmp_path / "grey.png", channels=3)
    assert repeated.shape == (3, WIDTH, HEIGHT)
    assert torch.equal(repeated[0], repeated[2])
    Image.new("RGB", (2, 2), (255, 0, 0)).save(tmp_path / "red.png")
    assert load(tmp_path / "red.png", channels=1)[0, 0, 0].item() == pytest.approx(0.299 * 255)
    Image.new("RGB", (2, 2), (7, 7, 7)).save(tmp_path / "rgb_grey.png")
    assert load(tmp_path / "rgb_grey.png", channels=1)[0, 0, 0] == 7


def test_a_grey_mask_stored_as_rgb_is_one_channel_and_a_coloured_one_is_refused(tmp_path):
    Image.new("RGB", (2, 2), (255, 255, 255)).save(tmp_path / "white.png")
    assert load(tmp_path / "white.png", is_label=True).shape == (1, 2, 2)
    Image.new("RGB", (2, 2), (255, 0, 0)).save(tmp_path / "red.png")
    with pytest.raises(ValueError, match=r"one integer per pixel.*red\.png.*3 channels"):
        load(tmp_path / "red.png", is_label=True)


def test_a_picture_of_one_pixel_loads(tmp_path):
    Image.new("L", (1, 1), 9).save(tmp_path / "a.png")
    assert load(tmp_path / "a.png", channels=3).flatten().tolist() == [9, 9, 9]


def test_a_stack_of_pages_is_refused(tmp_path):
    pages = [Image.fromarray(ramp()), Image.fromarray(ramp())]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(ValueError, match=r"2 pages in .*a\.tif"):
        load(tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
def test_a_nifti_volume_keeps_its_values_and_affine(tmp_path, suffix):
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    affine = np.diag([-2.0, 1.5, 3.0, 1])
    image = load(write_nifti(tmp_path / f"a.{suffix}", array, affine))
    assert np.array_equal(image[0].numpy(), array)
    assert np.allclose(image.affine, affine)
    assert image.meta["spacing_known"]


def test_a_four_dimensional_nifti_is_refused_and_not_read_by_another_reader(tmp_path):
    path = write_nifti(tmp_path / "a.nii.gz", np.zeros((2, 3, 4, 5), np.float32))
    with pytest.raises(ValueError, match=r"2 or 3 axes, got 4 axes \(2, 3, 4, 5\)"):
        load(path)


def test_a_fourth_axis_of_one_is_dropped(tmp_path):
    assert load(write_nifti(tmp_path / "a.nii", np.zeros((2, 3, 4, 1), np.uint8))).shape == (
        1,
        2,
        3,
        4,
    )


def test_a_volume_of_one_slice_is_accepted_as_volume_and_as_slice(tmp_path):
    path = write_nifti(tmp_path / "a.nii", np.zeros((2, 3, 1), np.uint8))
    assert load(path).shape == (1, 2, 3, 1)
    assert load(path, spatial_dims=2).shape == (1, 2, 3)


def test_two_dimensional_niftis_become_one_slice_where_volumes_are_wanted(tmp_path):
    path = write_nifti(tmp_path / "a.nii", np.zeros((2, 3), np.uint8))
    assert load(path, spatial_dims=3).shape == (1, 2, 3, 1)


def test_a_volume_is_refused_where_pictures_are_wanted_and_the_reverse(tmp_path):
    volume = write_nifti(tmp_path / "a.nii", np.zeros((2, 3, 4), np.uint8))
    with pytest.raises(ValueError, match="picture or one slice"):
        load(volume, spatial_dims=2)
    Image.new("L", (2, 2)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="Expected a volume"):
        load(tmp_path / "a.png", spatial_dims=3)


def test_an_rgb_nifti_has_three_channels(tmp_path):
    voxels = np.zeros((2, 3, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    voxels["G"] = 7
    image = load(write_nifti(tmp_path / "a.nii", voxels))
    assert image[:, 0, 0, 0].tolist() == [0, 7, 0]


def test_a_big_endian_nifti_loads(tmp_path):
    image = nibabel.Nifti1Image(
        np.full((2, 3, 4), 5, ">i2"), np.eye(4), nibabel.Nifti1Header(endianness=">")
    )
    nibabel.save(image, tmp_path / "a.nii")
    assert load(tmp_path / "a.nii").mean() == 5


def test_complex_voxels_are_refused(tmp_path):
    with pytest.raises(ValueError, match="real numbers"):
        load(write_nifti(tmp_path / "a.nii", np.zeros((2, 3, 4), np.complex64)))


def test_a_singular_affine_is_refused(tmp_path):
    affine = np.diag([1.0, 0.0, 1.0, 1.0])
    image = nibabel.Nifti1Image(np.zeros((2, 3, 4), np.uint8), None)
    image.header.set_sform(affine, code=1)
    image.to_filename(tmp_path / "a.nii")
    with pytest.raises(ValueError, match="invertible affine"):
        load(tmp_path / "a.nii")


@pytest.mark.parametrize("suffix", ["nrrd", "mha"])
def test_itk_volumes_load_in_ras(tmp_path, suffix):
    import itk

    array = np.arange(24, dtype=np.int16).reshape(4, 3, 2)  # ITK's NumPy order: Z, Y, X
    image = itk.image_from_array(array)
    image.SetSpacing([0.5, 1.0, 2.0])
    image.SetOrigin([10.0, 20.0, 30.0])
    itk.imwrite(image, str(tmp_path / f"a.{suffix}"))
    loaded = load(tmp_path / f"a.{suffix}")
    assert np.array_equal(loaded[0].numpy(), array.T)
    # ITK counts to the patient's left and back, RAS to the right and front.
    wanted = np.diag([-0.5, -1.0, 2.0, 1])
    wanted[:3, 3] = -10, -20, 30
    assert np.allclose(loaded.affine, wanted)


def test_a_four_dimensional_nrrd_is_refused(tmp_path):
    header = "NRRD0004\ntype: uchar\ndimension: 4\nsizes: 2 2 2 2\nencoding: raw\n\n"
    (tmp_path / "a.nrrd").write_bytes(header.encode() + bytes(16))
    with pytest.raises(ValueError, match="got 4 axes"):
        load(tmp_path / "a.nrrd")


def test_a_dicom_series_is_sorted_by_position_with_its_affine_in_ras(tmp_path):
    image = load(write_series(tmp_path / "series"))
    assert image.shape == (1, WIDTH, HEIGHT, 4)
    assert image[0, 2, 3].tolist() == [32, 132, 232, 332]
    assert np.allclose(image.affine, np.diag([-0.25, -0.5, 3.0, 1]))
    assert image.meta["spacing_known"]


def test_a_dicom_file_is_a_volume_of_one_slice_or_a_picture(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", ramp(np.uint16))
    assert load(path).shape == (1, WIDTH, HEIGHT, 1)
    image = load(path, spatial_dims=2)
    assert image.shape == (1, WIDTH, HEIGHT)
    assert image[0, 4, 3] == 34


TWELVE_BIT = np.arange(0, 4096, 4, dtype=np.int16).reshape(32, 32)


def test_a_twelve_bit_dicom_picture_is_shown_by_its_window(tmp_path, caplog):
    tags = {"WindowCenter": 1000.5, "WindowWidth": 1001}  # 500 to 1500
    path = write_dicom(tmp_path / "a.dcm", TWELVE_BIT, **tags)
    with caplog.at_level(logging.INFO):
        image = load(path, spatial_dims=2)[0].numpy()
    assert np.allclose(image, np.clip((TWELVE_BIT.T - 500) / 1000, 0, 1) * 255, atol=1e-3)
    assert "values from 0 to 4092 brought to 0..255" in caplog.text
    several = write_dicom(tmp_path / "b.dcm", TWELVE_BIT, **{k: [v, 7] for k, v in tags.items()})
    assert np.array_equal(load(several, spatial_dims=2)[0].numpy(), image)


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"WindowCenter": 9000, "WindowWidth": 100},  # shows nothing of it
        {"WindowCenter": 40, "WindowWidth": 0},
        {"WindowCenter": None, "WindowWidth": None},
        {"WindowCenter": 1000, "WindowWidth": 1000, "photometric": "MONOCHROME1"},
    ],
)
def test_without_a_usable_window_percentiles_decide(tmp_path, tags):
    image = load(write_dicom(tmp_path / "a.dcm", TWELVE_BIT, **tags), spatial_dims=2)[0].numpy()
    assert image.min() == 0 and image.max() == 255
    assert np.median(image) == pytest.approx(127.5, abs=1)
    assert ((image > 0) & (image < 255)).mean() > 0.98


def test_a_picture_within_eight_bit_keeps_its_values_whatever_its_window(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", ramp(np.uint16), WindowCenter=20, WindowWidth=10)
    assert np.array_equal(load(path, spatial_dims=2)[0].numpy(), ramp().T)


@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd", "tif"])
def test_other_pictures_beyond_eight_bit_are_scaled_by_percentiles(tmp_path, suffix):
    import itk

    values = (TWELVE_BIT - 1024).astype(np.float32)
    path = tmp_path / f"a.{suffix}"
    if suffix == "nii.gz":
        write_nifti(path, values.T[..., None])
    elif suffix == "nrrd":
        itk.imwrite(itk.image_from_array(values), str(path))
    else:
        Image.fromarray(values).save(path)
    image = load(path, spatial_dims=2, channels=3).numpy()
    low, high = np.percentile(values, (0.5, 99.5))
    assert image.shape == (3, 32, 32)
    assert np.allclose(image[1], np.clip((values.T - low) / (high - low), 0, 1) * 255, atol=1e-3)


def test_the_range_is_told_once_for_a_data_set(tmp_path, caplog):
    paths = [write_nifti(tmp_path / f"{i}.nii", TWELVE_BIT[..., None]) for i in range(3)]
    loader = LoadImaged("image", reader=ConceptImageReader(spatial_dims=2))
    with caplog.at_level(logging.INFO):
        for path in paths:
            loader({"image": str(path)})
    assert caplog.text.count("brought to 0..255") == 1


def test_volumes_labels_and_broken_values_are_not_scaled(tmp_path):
    volume = write_nifti(tmp_path / "a.nii", np.stack([TWELVE_BIT] * 2, axis=-1))
    assert load(volume).max() == 4092
    assert load(write_dicom(tmp_path / "a.dcm", TWELVE_BIT)).max() == 4092  # a volume of one slice
    label = write_nifti(tmp_path / "label.nii", TWELVE_BIT[..., None])
    assert load(label, is_label=True, spatial_dims=2).max() == 4092
    broken = np.where(TWELVE_BIT == 8, np.nan, TWELVE_BIT)[..., None]
    values = load(write_nifti(tmp_path / "nan.nii", broken), spatial_dims=2)
    assert values.isnan().sum() == 1 and values.nan_to_num().max() == 4092


@pytest.mark.parametrize("suffix", ["dcm", "png"])
@pytest.mark.parametrize("bundle", ["polyp_endoscopy_segmentation", "wound_photo_segmentation"])
def test_bundles_of_pictures_see_a_twelve_bit_radiograph(repository, tmp_path, bundle, suffix):
    image = tmp_path / f"a.{suffix}"
    if suffix == "dcm":
        write_dicom(image, TWELVE_BIT, WindowCenter=2048, WindowWidth=4096)
    else:
        Image.fromarray(TWELVE_BIT.astype(np.uint16)).save(image)
    label = write_dicom(tmp_path / "mask.dcm", (TWELVE_BIT > 2000) * 255)
    for name, key in (("inference", "preprocessing"), ("train", "train#deterministic_transforms")):
        parser = ConfigParser()
        parser.read_config(str(repository / "bundles" / bundle / "configs" / f"{name}.yaml"))
        steps = parser.get_parsed_content(key)
        steps = steps if name == "inference" else Compose(steps)
        seen = steps({"image": str(image), "label": str(label)})["image"]
        assert seen.mean() == pytest.approx(0.5, abs=0.01)
        assert seen.std() == pytest.approx(0.29, abs=0.01)  # of a ramp


@pytest.mark.parametrize("value", [1000, -5])
def test_a_picture_of_one_value_is_black(tmp_path, value):
    path = write_nifti(tmp_path / "a.nii", np.full((4, 5, 1), value, np.int16))
    assert load(path, spatial_dims=2).unique().tolist() == [0]


def test_a_small_bright_object_on_one_value_stays_visible(tmp_path):
    values = np.full((64, 64, 1), 1000, np.int16)
    values[3, 4] = 3000
    image = load(write_nifti(tmp_path / "a.nii", values), spatial_dims=2)
    assert image[0, 3, 4] == 255 and image.sum() == 255


def test_a_dicom_file_without_suffix_is_known_by_its_content(tmp_path):
    path = write_dicom(tmp_path / "IM0001", ramp(np.uint16))
    assert image_kind(path) == "dicom"
    assert load(path).shape == (1, WIDTH, HEIGHT, 1)


def test_monochrome1_is_inverted(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", np.array([[0, 10, 60]]), photometric="MONOCHROME1")
    assert load(path).diff(dim=1).flatten().tolist() == [-10, -50]


def test_two_dicom_series_in_one_folder_are_refused(tmp_path):
    write_series(tmp_path / "both", slices=2)
    write_dicom(tmp_path / "both" / "x.dcm", ramp(np.uint16), series="9.9")
    with pytest.raises(ValueError, match=r"one DICOM series in .* got 2: .*9\.9 \(1 files\)"):
        load(tmp_path / "both")


def test_uneven_slices_are_logged(tmp_path, caplog):
    for index, height in enumerate((0, 3, 9)):
        write_dicom(tmp_path / f"{index}.dcm", ramp(np.uint16), (0, 0, height))
    load(tmp_path)
    assert "unevenly spaced" in caplog.text


def test_a_folder_without_dicom_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(FileNotFoundError, match="no DICOM file"):
        load(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.png.*does not exist"):
        load(tmp_path / "gone.png")


@pytest.mark.parametrize("name", ["a.png", "a.nii.gz", "a.nii", "a.dcm", "a.nrrd", "a.mha"])
def test_an_empty_file_is_refused(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"empty file .*0 bytes"):
        load(tmp_path / name)


@pytest.mark.parametrize(
    "name", ["a.png", "a.jpg", "a.tif", "a.nii.gz", "a.nii", "a.dcm", "a.nrrd", "a.mha"]
)
def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"this is a note, not an image" * 20)
    with pytest.raises(ValueError, match=rf"readable image, got .*{name}.*damaged"):
        load(tmp_path / name)


def test_truncated_files_are_refused(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    write_nifti(tmp_path / "a.nii.gz", noise[..., None])
    write_nifti(tmp_path / "a.nii", noise[..., None])
    write_dicom(tmp_path / "a.dcm", noise)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(ValueError, match="damaged"):
            load(path)


def test_an_unknown_kind_is_refused_with_the_accepted_ones(tmp_path):
    (tmp_path / "a.docx").write_text("text")
    with pytest.raises(ValueError, match=r"Expected one of \*\.png.*a\.docx"):
        load(tmp_path / "a.docx")


def test_several_files_become_channels_when_their_grids_agree(tmp_path):
    first = write_nifti(tmp_path / "a.nii", np.zeros((2, 3, 4), np.uint8))
    second = write_nifti(tmp_path / "b.nii", np.ones((2, 3, 4), np.uint8))
    loader = LoadImaged("image", reader=ConceptImageReader())
    assert loader({"image": [first, second]})["image"].shape == (2, 2, 3, 4)
    third = write_nifti(tmp_path / "c.nii", np.ones((2, 3, 5), np.uint8))
    with pytest.raises(ValueError, match=r"c\.nii.*on the grid of"):
        loader({"image": [first, third]})


@pytest.mark.parametrize("options", [{"channels": 2}, {"spatial_dims": 4}])
def test_the_reader_refuses_options_out_of_range(options):
    with pytest.raises(ValueError, match="Expected channels"):
        ConceptImageReader(**options)


def test_the_reader_verifies_suffixes():
    assert ConceptImageReader().verify_suffix(["a.PNG", "b.nii.gz"])
    assert not ConceptImageReader().verify_suffix("a.txt")


@pytest.mark.parametrize(
    ("path", "name", "suffix"),
    [
        ("x/a.b.JPG", "a.b", ".png"),
        ("x/case.nii.gz", "case", ".nii.gz"),
        ("x/case.nrrd", "case", ".nii.gz"),
        ("x/a.dcm", "a", ".nii.gz"),
    ],
)
def test_the_mask_of_a_picture_is_png_and_of_all_else_nifti(path, name, suffix):
    assert case_name(path) == name
    assert segmentation_suffix(path) == suffix


def test_a_dicom_folder_keeps_its_whole_name_and_gets_nifti(tmp_path):
    folder = tmp_path / "1.2.840.7"
    folder.mkdir()
    assert case_name(folder) == "1.2.840.7"
    assert segmentation_suffix(folder) == ".nii.gz"


def test_case_names_hold_the_folder_where_names_repeat():
    names = case_names(["/d/p1/T1.nii.gz", "/d/p2/T1.nii.gz", "/d/p2/T2.nii.gz", "/d/p2/T2.nii.gz"])
    assert list(names.values()) == ["p1/T1", "p2/T1", "T2"]
    assert case_names(["/d/1.2.840.7", "/e/1.2.840.7"])["/e/1.2.840.7"] == "e/1.2.840.7"
    assert list(case_names(["/d/a.png", "/d/a.jpg", "/d/b/a.jpg"]).values()) == [
        "a.png",
        "a.jpg",
        "b/a",
    ]
    assert case_names(["only/a.png"]) == {"only/a.png": "a"}


def test_case_names_are_whole_paths_where_no_folder_holds_all(monkeypatch):
    def on_two_drives(paths):
        raise ValueError("Paths don't have the same drive")

    monkeypatch.setattr("os.path.commonpath", on_two_drives)
    names = case_names(["/c/p1/T1.nii.gz", "/d/p1/T1.nii.gz", "/d/p1/T1.nii", "/d/T2.nii"])
    assert list(names.values()) == ["/c/p1/T1", "/d/p1/T1.nii.gz", "/d/p1/T1.nii", "T2"]


def test_no_paths_have_no_case_names():
    assert case_names([]) == {}


def test_no_mask_format_is_given_for_other_files():
    with pytest.raises(ValueError, match="Expected an image"):
        segmentation_suffix("notes.txt")


def entry(array, file="case.png", affine=None):
    """A loaded image as transforms see it."""
    affine = torch.eye(4) if affine is None else torch.as_tensor(affine)
    return MetaTensor(torch.as_tensor(array), affine=affine, meta={"filename_or_obj": file})


def test_a_good_image_passes_unchanged():
    data = {"image": entry(np.ones((3, 4, 5), np.float32))}
    checked = CheckImaged("image", channels=3, spatial_dims=2)(data)
    assert checked["image"] is data["image"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinite_voxels_are_refused_with_their_count(value):
    array = np.ones((1, 4, 5, 6), np.float32)
    array[0, 1, 2, 3] = value
    with pytest.raises(ValueError, match=r"case\.png.*got 1 NaN or infinite of 120"):
        CheckImaged("image")({"image": entry(array)})


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((1, 4, 5), {"channels": 3}, "3 channel"),
        ((1, 4, 5, 6, 2), {}, "2 or 3 spatial axes"),
        ((4,), {}, "2 or 3 spatial axes"),
        ((1, 4, 5), {"spatial_dims": 3}, "with 3 spatial axes"),
        ((1, 0, 5), {}, "at least one voxel"),
    ],
)
def test_wrong_shapes_are_refused(shape, options, message):
    with pytest.raises(ValueError, match=message):
        CheckImaged("image", **options)({"image": entry(np.zeros(shape, np.float32))})


@pytest.mark.parametrize("array", ["text", np.array(["a"]), np.zeros((1, 2, 2), complex), None])
def test_what_is_not_made_of_real_numbers_is_refused(array):
    with pytest.raises(TypeError, match="array of real numbers"):
        CheckImaged("image")({"image": array})


def test_plain_numpy_images_are_checked_too():
    CheckImaged("image", channels=1)({"image": np.ones((1, 2, 3), np.uint16)})
    with pytest.raises(ValueError, match="NaN"):
        CheckImaged("image")({"image": np.full((1, 2, 3), np.nan)})


def test_a_mask_of_another_size_is_refused():
    data = {"image": entry(np.zeros((3, 4, 5))), "label": entry(np.zeros((1, 5, 4)), "m.png")}
    with pytest.raises(ValueError, match=r"m\.png.*case\.png.*\(4, 5\); got \(5, 4\)"):
        CheckLabeld("label", num_labels=1)(data)


def test_values_outside_the_label_set_are_refused():
    label = entry(np.array([[[0, 1, 2, 7]]]), "m.png")
    with pytest.raises(ValueError, match=r"0\.\.2 in .*m\.png.*got also 7"):
        CheckLabeld("label", num_labels=2)({"label": label})
    CheckLabeld("label", num_labels=7)({"label": label})


def test_fractions_are_no_label_numbers():
    with pytest.raises(ValueError, match=r"got also 0\.5"):
        CheckLabeld("label", num_labels=1)({"label": entry(np.array([[[0, 0.5]]]))})


def test_a_mask_of_several_channels_is_refused():
    with pytest.raises(ValueError, match="one channel of label numbers"):
        CheckLabeld("label", num_labels=1)({"label": entry(np.zeros((3, 4, 5)))})


def test_a_mask_at_another_position_is_refused_unless_told_otherwise():
    moved = np.eye(4)
    moved[0, 3] = 1.0
    data = {
        "image": entry(np.zeros((1, 4, 5, 6))),
        "label": entry(np.zeros((1, 4, 5, 6)), "m", moved),
    }
    with pytest.raises(ValueError, match="a corner 1 voxels away"):
        CheckLabeld("label", num_labels=1)(data)
    CheckLabeld("label", num_labels=1, check_affine=False)(data)


def test_a_mask_that_is_a_picture_has_no_position_to_compare(tmp_path):
    radiograph = load(write_dicom(tmp_path / "a.dcm", ramp(np.uint16)), spatial_dims=2)
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(tmp_path / "a.png")
    mask = load(tmp_path / "a.png", is_label=True)
    assert not np.allclose(radiograph.affine, mask.affine)
    CheckLabeld("label", num_labels=1)({"image": radiograph, "label": mask})


def test_a_mirrored_mask_header_is_refused_and_a_rounded_one_passes():
    image = entry(np.zeros((1, 4, 5, 6)))
    mirrored = entry(np.zeros((1, 4, 5, 6)), "m", np.diag([-1.0, 1, 1, 1]))
    with pytest.raises(ValueError, match="6 voxels away"):
        CheckLabeld("label", num_labels=1)({"image": image, "label": mirrored})
    rounded = entry(np.zeros((1, 4, 5, 6)), "m", np.diag([1.001, 1, 1, 1]))
    CheckLabeld("label", num_labels=1)({"image": image, "label": rounded})


@pytest.mark.parametrize(
    "values", [[0, 3, 100, 127, 128, 250, 255], [0, 0, 0, 0, 65535, 65535, 65535]]
)
def test_masks_are_cut_above_127(values):
    label = ThresholdMaskd("label")({"label": entry(np.array(values, np.float32)[None, None])})[
        "label"
    ]
    assert label.flatten().tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert label.meta["filename_or_obj"] == "case.png"


def test_masks_of_ones_and_empty_masks_stay():
    for values in ([0.0, 1.0], [0.0, 0.0]):
        label = ThresholdMaskd("label")({"label": entry(np.array(values)[None, None])})["label"]
        assert label.flatten().tolist() == values


@pytest.mark.parametrize("values", [[0.0, 2.0], [-1.0, 0.0], [np.nan, 0.0]])
def test_label_numbers_are_not_thresholded_silently(values):
    with pytest.raises(ValueError, match="binary mask"):
        ThresholdMaskd("label")({"label": entry(np.array(values)[None, None])})


def test_values_are_mapped_to_label_numbers():
    label = entry(np.array([[[0, 85, 170, 255]]], np.float32))
    mapped = LabelMapd("label", {0: 0, 85: 2, 170: 1, 255: 2})({"label": label})["label"]
    assert mapped.flatten().tolist() == [0, 2, 1, 2]
    assert mapped.meta["filename_or_obj"] == "case.png"


def test_unmapped_values_are_refused_or_become_the_other_label():
    label = entry(np.array([[[0, 5, 9]]], np.float32))
    with pytest.raises(ValueError, match=r"only the values \[0, 5\].*got also 9"):
        LabelMapd("label", {0: 0, 5: 1})({"label": label})
    mapped = LabelMapd("label", {5: 1}, others=0)({"label": label})["label"]
    assert mapped.flatten().tolist() == [0, 1, 0]


def test_a_label_mapping_can_be_written_in_a_bundle_config():
    config = {"map": {"_target_": "conceptseg.image_io.LabelMapd", "keys": "label"}}
    config["map"]["mapping"] = {"0": 0, "255": 1}  # JSON keys are strings
    transform = ConfigParser(json.loads(json.dumps(config))).get_parsed_content("map")
    assert transform({"label": entry(np.array([[[0, 255]]]))})["label"].flatten().tolist() == [0, 1]


def test_a_transform_chain_reads_a_pair_as_a_bundle_does(tmp_path):
    Image.fromarray(ramp(channels=3)).save(tmp_path / "a.png")
    Image.fromarray((ramp() > 20).astype(np.uint8) * 255).save(tmp_path / "m.png")
    chain = Compose(
        [
            LoadImaged("image", reader=ConceptImageReader(channels=3)),
            LoadImaged("label", reader=ConceptImageReader(is_label=True)),
            EnsureChannelFirstd(["image", "label"]),
            ThresholdMaskd("label"),
            CheckImaged("image", channels=3, spatial_dims=2),
            CheckLabeld("label", num_labels=1),
        ]
    )
    data = chain({"image": tmp_path / "a.png", "label": tmp_path / "m.png"})
    assert data["image"].shape == (3, WIDTH, HEIGHT)
    assert data["label"].sum() == (ramp() > 20).sum()


@pytest.mark.parametrize(
    ("writer", "suffix", "spatial"),
    [(AtomicNibabelWriter, ".nii.gz", (4, 5, 3)), (AtomicPILWriter, ".png", (4, 5))],
)
def test_saved_masks_read_back_equal_and_leave_nothing_else(tmp_path, writer, suffix, spatial):
    label = np.random.default_rng(0).integers(0, 3, (1, *spatial)).astype(np.float32)
    saver = SaveImaged(
        "pred", output_dir=tmp_path, output_ext=suffix, writer=writer, separate_folder=False,
        output_dtype=np.uint8, print_log=False,
    )  # fmt: skip
    saver({"pred": entry(label, f"case{suffix}")})
    assert [path.name for path in tmp_path.iterdir()] == [f"case_trans{suffix}"]
    assert np.array_equal(load(tmp_path / f"case_trans{suffix}", is_label=True), label)


@pytest.mark.parametrize(
    ("writer", "suffix"), [(AtomicNibabelWriter, ".nii.gz"), (AtomicPILWriter, ".png")]
)
def test_a_failed_write_keeps_the_old_file_and_leaves_nothing(
    tmp_path, monkeypatch, writer, suffix
):
    target = tmp_path / f"a{suffix}"
    target.write_bytes(b"old")

    def write_half(self, filename, **options):
        Path(filename).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(writer.__mro__[1], "write", write_half)
    saver = writer(output_dtype=np.uint8)
    saver.set_data_array(np.zeros((1, 4, 5)))
    with pytest.raises(OSError, match="disk full"):
        saver.write(target)
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    assert target.read_bytes() == b"old"


def test_a_failed_block_leaves_no_temporary_file(tmp_path):
    def write_half():
        with atomic_path(tmp_path / "new" / "a.txt") as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert list((tmp_path / "new").iterdir()) == []


def test_the_temporary_file_keeps_the_double_suffix(tmp_path):
    with atomic_path(tmp_path / "a.nii.gz") as temporary:
        assert temporary.name.endswith(".nii.gz")
        temporary.write_bytes(gzip.compress(b""))
    assert (tmp_path / "a.nii.gz").exists()


def test_segmentations_are_saved_in_the_format_of_their_image(tmp_path):
    saver = SaveSegmentationd("pred", tmp_path / "out")
    picture = saver({"pred": entry(np.ones((1, 4, 5)), "in/photo.jpg")})["pred"]
    saver({"pred": entry(np.full((1, 4, 5, 1), 2.0), "in/scan.dcm", np.diag([2.0, 2, 2, 1]))})
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["photo_seg.png", "scan_seg.nii.gz"]
    assert picture.meta["saved_to"] == str(tmp_path / "out" / "photo_seg.png")
    assert Image.open(tmp_path / "out" / "photo_seg.png").size == (4, 5)
    volume = nibabel.load(tmp_path / "out" / "scan_seg.nii.gz")
    assert volume.shape == (4, 5, 1)
    assert volume.get_data_dtype() == np.uint8
    assert np.allclose(volume.affine, np.diag([2.0, 2, 2, 1]))
    assert (np.asarray(volume.dataobj) == 2).all()


def test_more_than_255_labels_are_saved_as_sixteen_bit(tmp_path):
    SaveSegmentationd("pred", tmp_path)({"pred": entry(np.full((1, 2, 3), 300.0), "a.png")})
    assert load(tmp_path / "a_seg.png", is_label=True).max() == 300


def test_two_images_of_one_name_are_not_saved_over_each_other(tmp_path):
    saver = SaveSegmentationd("pred", tmp_path)
    saver({"pred": entry(np.ones((1, 2, 3)), "x/a.png")})
    saver({"pred": entry(np.ones((1, 2, 3)), "x/a.png")})  # the same image again is fine
    with pytest.raises(ValueError, match=r"x/a\.png.*y/a\.png"):
        saver({"pred": entry(np.ones((1, 2, 3)), "y/a.png")})


def test_sub_folders_are_kept_below_the_data_root(tmp_path):
    saver = SaveSegmentationd("pred", tmp_path / "out", data_root_dir=tmp_path / "in")
    for folder in ("x", "y"):
        saver({"pred": entry(np.ones((1, 2, 3)), str(tmp_path / "in" / folder / "a.png"))})
    assert (tmp_path / "out" / "x" / "a_seg.png").exists()
    assert (tmp_path / "out" / "y" / "a_seg.png").exists()
