"""MONAI Label's stock `monaibundle` app serves exported bundles unchanged, each with its own code."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import requests
import torch
from monai.bundle import ConfigParser
from PIL import Image

from conceptseg.export.bundle_export import export_bundle

VOLUMES, PHOTOS = "hippocampus_mr_segmentation", "polyp_endoscopy_segmentation"
STOCK_APP = Path(sys.prefix) / "monailabel" / "sample-apps" / "monaibundle"
START_SECONDS = 300


@pytest.fixture(scope="module")
def app(repository, tmp_path_factory) -> Path:
    """A copy of the stock app with both exported bundles; the second's code marks all it segments."""
    pytest.importorskip("monailabel")
    if not STOCK_APP.is_dir():
        pytest.skip(f"the stock app is not at {STOCK_APP}")
    folder = tmp_path_factory.mktemp("stock")
    shutil.copytree(STOCK_APP, folder / "app")
    for name in (VOLUMES, PHOTOS):
        source = folder / "source" / name
        ignored = shutil.ignore_patterns("models", "eval", "train_output")
        shutil.copytree(repository / "bundles" / name, source, ignore=ignored)
        for config in ("inference", "train"):
            file = source / "configs" / f"{config}.yaml"
            text = file.read_text().replace("image_size: 224", "image_size: 64")
            wide = next(w for w in ("[24, 48, 96, 160]", "[32, 64, 128, 192]") if w in text)
            file.write_text(text.replace(wide, "[8, 8, 12, 16]"))
        parser = ConfigParser()
        parser.read_config(str(source / "configs" / "inference.yaml"))
        torch.manual_seed(0)
        network = parser.get_parsed_content("network_def")
        torch.nn.init.constant_(network.presence[-1].bias, 50.0)  # everything is present ...
        torch.nn.init.constant_(network.decoder.head.bias, 5.0)  # ... and everywhere
        (source / "models").mkdir()
        torch.save(network.state_dict(), source / "models" / "model.pt")
        export_bundle(source, folder / "app" / "model")
    code = folder / "app" / "model" / PHOTOS / "scripts" / "inferer.py"
    marker = "        return torch.stack([p.with_background() for p in predictions])"
    assert marker in code.read_text()
    code.write_text(code.read_text().replace(marker, f"{marker}.flip(1)"))  # background everywhere
    return folder / "app"


@pytest.fixture(scope="module")
def server(app, tmp_path_factory):
    """The running server's address and its studies: one volume, one photograph."""
    folder = tmp_path_factory.mktemp("studies")
    rng = np.random.default_rng(0)
    volume = rng.normal(size=(20, 24, 10)).astype(np.float32)
    nib.save(nib.Nifti1Image(volume, np.diag([1.0, 1, 2, 1])), folder / "volume.nii.gz")
    Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(folder / "photo.png")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "monailabel.main", "start_server", "--app", str(app)]
    command += ["--studies", str(folder), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--conf", "models", f"{VOLUMES},{PHOTOS}", "--conf", "zoo_source", "local"]
    command += ["--conf", "sam2", "false"]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment |= {
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "MONAI_LABEL_DATASTORE_FILE_EXT": '["*.nii.gz", "*.png"]',
        "MONAI_LABEL_SESSION_PATH": str(app.parent / "sessions"),
    }
    log = app.parent / "server.log"
    with open(log, "w") as stream:
        process = subprocess.Popen(
            command, cwd=app.parent, env=environment, stdout=stream, stderr=stream,
            start_new_session=True,
        )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            try:
                info = requests.get(f"{address}/info/", timeout=10).json()
                break
            except requests.ConnectionError:
                time.sleep(0.5)
        yield address, info, log
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=60)


def infer(server, tmp_path, model: str, image: str, **options) -> np.ndarray:
    """The mask that a client gets."""
    address, _, log = server
    params = {"result_extension": ".nii.gz", "result_dtype": "uint8", "device": "cpu"}
    params |= {"concept": "", "prompt_strength": 1.0, **options}
    answer = requests.post(
        f"{address}/infer/{model}?image={image}&output=image",
        data={"params": json.dumps(params)},
        timeout=300,
    )
    assert answer.status_code == 200, log.read_text()[-3000:]
    file = tmp_path / "mask.nii.gz"
    file.write_bytes(answer.content)
    return np.asarray(nib.load(file).dataobj)


@pytest.mark.slow
def test_the_stock_app_serves_both_with_options_and_their_own_code(server, tmp_path):
    _, info, log = server
    models = info["models"]
    assert {VOLUMES, PHOTOS} <= set(models), log.read_text()[-3000:]
    assert models[VOLUMES]["labels"] == {"anterior hippocampus": 1, "posterior hippocampus": 2}
    assert {"concept", "prompt_strength"} <= set(models[VOLUMES]["config"])
    for _ in range(2):  # in turn: code that was kept from the other would show
        free = infer(server, tmp_path, VOLUMES, "volume")
        assert free.shape == (20, 24, 10) and (free > 0).mean() > 0.9
        asked = infer(server, tmp_path, VOLUMES, "volume", concept="posterior hippocampus")
        assert set(np.unique(asked)) <= {0, 2} and (asked == 2).any()
        photo = infer(server, tmp_path, PHOTOS, "photo")
        assert photo.size == 40 * 50 and not photo.any()
