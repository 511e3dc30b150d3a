"""From images and a label's name to a served model: a new bundle, two drawn cases, a training."""

import nibabel as nib
import numpy as np
import yaml
from client_walk import wait_for
from monailabel.client import MONAILabelClient

from conceptseg.own_bundle import OwnBundle, choose_for_volumes, survey_images, write_own_bundle


def test_a_bundle_without_weights_is_annotated_trained_and_then_segments(
    repository, serve, phantoms, tmp_path
):
    studies = tmp_path / "studies"
    studies.mkdir()
    truth = phantoms(studies, range(400, 404))
    seen = survey_images(studies)
    found = choose_for_volumes(seen.spacing, seen.extent)
    own = OwnBundle(["lesion"], "Lesions", "MR", found.spacing, found.slice_axes, found.slice_size)
    bundle = write_own_bundle(
        tmp_path / "lesions", repository / "bundles" / "hippocampus_mr_segmentation", own
    )
    for name in ("train", "inference"):  # small, for a quick test; all else as written
        path = bundle / "configs" / f"{name}.yaml"
        config = yaml.safe_load(path.read_text())
        for part in ("backbone", "decoder"):
            config["network_def"][part]["feature_channels"] = [4, 8, 8, 8]
        path.write_text(yaml.safe_dump(config, sort_keys=False))
    server = serve(studies, str(bundle))
    client = MONAILabelClient(server.url, str(tmp_path), "ada")
    info = client.info()
    assert info["labels"] == ["lesion"] and "lesions" in info["trainers"]
    assert "lesions" not in info["models"]  # nothing to segment with yet
    for _ in range(2):
        name = client.next_sample("random", {})["id"]
        image = nib.load(studies / f"{name}.nii.gz")
        path = tmp_path / f"{name}_drawn.nii.gz"
        nib.save(nib.Nifti1Image((truth[name] > 0).astype(np.uint8), image.affine), path)
        assert "lesion" in client.save_label(name, str(path), "final", {})["concepts"]
    client.train_start("lesions", {"max_epochs": 1})
    wait_for(f"{server.url}/train/")
    assert "[10/10]" in server.log.read_text()  # not the one step that a single case would make
    assert "lesions" in client.info()["models"]
    _, params = client.infer("lesions", name, {})
    assert params["label_names"] == {"lesion": 1}
