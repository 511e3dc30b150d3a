"""OHIF of the MONAI Label wheel: the clicks of a person, in headless Chromium on Orthanc."""

import numpy as np
import pytest
import requests
from ohif_browser import Ohif
from orthanc import Orthanc

from conceptseg.dicom_series import write_mr_series

MODEL = "hippocampus_mr_segmentation"


@pytest.fixture(scope="module")
def truth(volume) -> np.ndarray:
    """Label map (X, Y, Z) in RAS order."""
    return volume(400)[1]


@pytest.fixture(scope="module")
def ohif(serve, volume, tmp_path_factory):
    """OHIF connected to a server on Orthanc with one series; 1 mm, LPS origin at the first pixel."""
    orthanc = Orthanc(tmp_path_factory.mktemp("orthanc"))
    try:
        folder = tmp_path_factory.mktemp("series")
        write_mr_series(folder, volume(400)[0], "phantom400")
        orthanc.add(folder)
        environment = {
            "MONAI_LABEL_DICOMWEB_SEARCH_FILTER": '{"Modality": "MR"}',
            "MONAI_LABEL_DICOMWEB_CACHE_PATH": str(tmp_path_factory.mktemp("dicom_cache")),
        }
        server = serve(orthanc.url, MODEL, environment)
        study = requests.get(f"{orthanc.address}/studies?expand", timeout=30).json()[0]
        browser = Ohif(server.url, study["MainDicomTags"]["StudyInstanceUID"])
        try:
            browser.connect()
            yield browser
        finally:
            browser.close()
    finally:
        orthanc.stop()


@pytest.fixture
def shown(ohif, request, artefacts):
    """Keeps a screenshot of what the test left on the screen as an artefact."""
    yield ohif
    path = artefacts / f"ohif_{request.node.name}.png"
    ohif.screenshot(path)
    assert path.stat().st_size > 10_000


def test_text_free_mask_lies_on_the_image(shown, truth):
    sent = shown.run(MODEL)
    assert "concept" not in sent
    mask, image = shown.volumes()
    assert mask.shape == truth.shape
    for value in (1, 2):
        found = mask == value
        assert (found & (truth == value)).sum() > 0.7 * found.sum() > 0
    assert image[mask == 2].mean() > image[mask == 1].mean() > image[mask == 0].mean()


def test_concept_typed_into_the_options_steers_the_mask(shown, truth):
    shown.set_option(MODEL, "concept", "posterior hippocampus on the right side")
    assert "posterior hippocampus on the right side" in shown.run(MODEL)
    mask, _ = shown.volumes()
    assert set(np.unique(mask)) == {0, 2}
    assert (mask[16:] == 2).any() and not mask[:16].any()  # RAS: the patient's right comes last
    shown.set_option(MODEL, "concept", "")


def test_class_prompt_gives_the_class_ticked(shown, truth):
    shown.open_tab("Class Prompts")
    shown.tick_class("anterior hippocampus")
    assert '"label_prompt":[1]' in shown.run(MODEL)
    mask, _ = shown.volumes()  # OHIF leaves what another class has marked before
    assert ((mask == 1) & (truth == 1)).sum() > 0.6 * (mask == 1).sum() > 0


def test_point_gives_the_object_under_it(shown, truth):
    shown.open_tab("Point Prompts")
    assert truth[8, 14, 12] == 2
    shown.click_point("posterior hippocampus", (31 - 8, 39 - 14, 12))
    assert "posterior hippocampus" in shown.run(f"{MODEL}_interactive")
    mask, _ = shown.volumes()
    assert mask[8, 14, 12] == 2
    assert ((mask[:16] == 2) & (truth[:16] == 2)).sum() > 0.6 * (mask[:16] == 2).sum()
