"""The whole way of a person, from the first look to the restart, on each kind of studies."""

import nibabel as nib
import numpy as np
import pytest
from client_walk import Setting, walk, write
from monailabel.client import MONAILabelClient
from orthanc import Orthanc
from PIL import Image

from conceptseg.dicom_series import write_mr_series

VOLUMES = "hippocampus_mr_segmentation"
PHOTOS = "polyp_endoscopy_segmentation"
CASES = 4


@pytest.fixture
def take(artefacts, tmp_path):
    """Take a walk, keep its transcript, and require that every step went well."""

    def run(server, title: str, **details) -> None:
        client = MONAILabelClient(server.url, str(tmp_path), "tester")
        transcript = walk(Setting(title, server, client, **details))
        print(transcript.text())
        write(transcript, artefacts)
        assert not transcript.failed, transcript.text()

    return run


def save_nifti(path, array, affine) -> str:
    """Write a NIfTI file; gives its path as text."""
    nib.save(nib.Nifti1Image(array, affine), path)
    return str(path)


def test_walk_through_a_folder_of_volumes(serve, take, phantoms, tmp_path):
    studies = tmp_path / "studies"
    studies.mkdir()
    truth = phantoms(studies, range(200, 200 + CASES))
    affine = nib.load(studies / "case_200.nii.gz").affine
    take(
        serve(studies, VOLUMES),
        "NIfTI folder",
        model=VOLUMES,
        images=sorted(truth),
        shape=truth["case_200"].shape,
        read=lambda path: np.asarray(nib.load(path).dataobj),
        label_file=lambda name: save_nifti(tmp_path / f"{name}.nii.gz", truth[name], affine),
        concept=("posterior hippocampus on the left side", {2}),
        clicks=({"posterior hippocampus": [[8, 14, 12]]}, (8, 14, 12)),
        session_file=str(studies / "case_203.nii.gz"),
    )


def test_walk_through_a_folder_of_photographs(serve, take, photos, tmp_path):
    studies = tmp_path / "studies"
    studies.mkdir()
    truth = {}
    for seed in range(60, 60 + CASES):
        image, mask = photos(seed)
        Image.fromarray(image).save(studies / f"photo_{seed}.png")
        truth[f"photo_{seed}"] = (mask > 0).astype(np.uint8)
    rows, columns = (int(x.mean()) for x in np.nonzero(truth["photo_63"]))

    def label_file(name: str) -> str:
        Image.fromarray(truth[name]).save(tmp_path / f"{name}_label.png")
        return str(tmp_path / f"{name}_label.png")

    take(
        serve(studies, PHOTOS),
        "PNG folder",
        model=PHOTOS,
        images=sorted(truth),
        shape=truth["photo_60"].shape,
        read=lambda path: np.asarray(Image.open(path)),
        label_file=label_file,
        concept=("polyp on the right", {1}),
        clicks=({"foreground": [[columns, rows, 0]]}, (rows, columns)),
        session_file=str(studies / "photo_63.png"),
    )


def test_walk_through_a_dicomweb_server(serve, take, volume, tmp_path):
    orthanc = Orthanc(tmp_path)
    try:
        truth, images = {}, {}
        for seed in range(500, 500 + CASES):
            image, label = volume(seed)
            series = write_mr_series(tmp_path / f"{seed}", image, f"walk{seed}")
            orthanc.add(tmp_path / f"{seed}")
            truth[series], images[series] = label, image
        environment = {
            "MONAI_LABEL_DICOMWEB_SEARCH_FILTER": '{"Modality": "MR"}',
            "MONAI_LABEL_DICOMWEB_CACHE_PATH": str(tmp_path / "cache"),
            "MONAI_LABEL_DICOMWEB_CACHE_EXPIRY": "1",
        }
        names = sorted(truth)
        shape = truth[names[0]].shape
        # the place of write_mr_series: the last voxel of X and Y lies at the LPS origin
        affine = np.eye(4)
        affine[:3, 3] = (1 - shape[0], 1 - shape[1], 0)
        take(
            serve(orthanc.url, VOLUMES, environment),
            "DICOMweb (Orthanc)",
            model=VOLUMES,
            images=names,
            shape=shape,
            read=lambda path: np.asarray(nib.as_closest_canonical(nib.load(path)).dataobj),
            # on the grid of the server's NIfTI copy, as Slicer saves it: to the left and to the back
            label_file=lambda n: save_nifti(
                tmp_path / f"{n}.nii.gz", truth[n][::-1, ::-1].copy(), np.diag([-1.0, -1, 1, 1])
            ),
            concept=("posterior hippocampus on the left side", {2}),
            # the server's NIfTI copies of DICOM series run to the left and to the back
            clicks=({"posterior hippocampus": [[31 - 8, 39 - 14, 12]]}, (8, 14, 12)),
            session_file=save_nifti(tmp_path / "own.nii.gz", images[names[-1]], affine),
        )
    finally:
        orthanc.stop()
