"""The last step of the quickstart: the MONAI Label server on the demonstration studies."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
import requests

from conceptseg.dicom_series import write_mr_series

ROOT = Path(__file__).resolve().parents[1]
APP = ROOT / "apps" / "conceptseg"
START_SECONDS = 600

CLICKS = """
3D Slicer (extension MONAILabel, installed from View > Extension Manager > Active Learning)
  1. Modules > Active Learning > MONAILabel; MONAI Label server: {url}; press the button with the arrows.
  2. Active Learning: Strategy first, press Next Sample. Under Auto Segmentation press Run: a mask without
     any text.
  3. Options: Section infer, Name {model}, row concept: type {prompt!r}, then Run again.
     (No Options? Switch on Edit > Application Settings > MONAI Label > Developer Mode.)
  4. SmartEdit: Model {model}_interactive, choose a label, place points: the object under them.
  5. Correct it in the Segment Editor, then Active Learning: Submit Label, Next Sample, and Train.
"""
OHIF_CLICKS = """
OHIF (in this computer's browser)
  1. Open {url}/ohif/monai-label?StudyInstanceUIDs={study}
  2. Panel MONAI Label: Server {url}/, press the blue button with the arrow.
  3. Auto-Segmentation: Run. Then Options / Configurations: Section infer, Name {model}, row concept:
     type {prompt!r}, Confirm, Run.
  4. Point Prompts: choose a label, click on it, Run. Class Prompts: tick a class, Run.
"""
OHIF_HINT = """
OHIF shows studies of a DICOMweb server: bash scripts/quickstart.sh --ohif starts Orthanc with these two.
"""


def serve(
    output: Path, studies: Path, bundle: Path, prompt: str, port: int, seconds: float | None,
    ohif: bool,
) -> None:  # fmt: skip
    """Start the server, segment once without and once with the prompt, say what to click, and wait.

    Args:
        output: for weights, caches and the log.
        studies: folder of NIfTI files.
        bundle: served bundle.
        prompt: concept to try.
        port: first port tried.
        seconds: stop after so many; None: at Ctrl+C.
        ohif: serve through Orthanc.
    """
    with ExitStack() as stack:
        environment, source, study = dict(os.environ), str(studies), ""
        if ohif:
            source, study = stack.enter_context(orthanc(output, studies))
            environment |= {
                "MONAI_LABEL_DICOMWEB_SEARCH_FILTER": '{"Modality": "MR"}',
                "MONAI_LABEL_DICOMWEB_CACHE_PATH": str(output.resolve() / "dicom_cache"),
                "MONAI_LABEL_DICOMWEB_CACHE_EXPIRY": "5",
            }
        port = free_port(port)
        url = f"http://127.0.0.1:{port}"
        command = [
            *(sys.executable, "-m", "monailabel.main", "start_server", "--app", str(APP)),
            *("--studies", source, "--port", str(port), "--conf", "bundles", str(bundle)),
            *("--conf", "model_dir", str(output.resolve() / "trained")),
        ]
        print(f"\nStarting the MONAI Label server:\n  {' '.join(command)}")
        log = output / "server.log"
        stack.enter_context(process(command, environment, log, f"{url}/info/"))
        measure(url, bundle.name, prompt)
        words = {"url": url, "model": bundle.name, "prompt": prompt, "study": study}
        print(CLICKS.format(**words) + (OHIF_CLICKS.format(**words) if study else OHIF_HINT))
        wait(seconds)


def wait(seconds: float | None) -> None:
    """Wait so many seconds, or until Ctrl+C."""
    if seconds is None:
        print("The server runs until you press Ctrl+C.", flush=True)
    elif seconds > 0:
        print(f"The server runs for {seconds:g} seconds.", flush=True)
    try:
        while seconds is None:
            time.sleep(3600)
        time.sleep(seconds)
    except KeyboardInterrupt:
        pass
    print("\nThe server is stopped.", flush=True)


def measure(url: str, model: str, prompt: str) -> None:
    """Print the seconds of the first mask and of a second prompt on the same image."""
    image = requests.post(f"{url}/activelearning/first", json={}, timeout=60).json()["id"]
    taken = []
    for concept in ("", prompt):
        start = time.perf_counter()
        answer = requests.post(
            f"{url}/infer/{model}",
            params={"image": image, "output": "json"},
            data={"params": json.dumps({"concept": concept})},
            timeout=600,
        )
        answer.raise_for_status()
        taken.append(time.perf_counter() - start)
    ratio = taken[1] / taken[0]
    print(
        f"{url} answers: first mask of {image} {taken[0]:.2f} s, then {prompt!r} {taken[1]:.2f} s"
        f" (ratio {ratio:.2f}: the image is encoded once)"
    )


def free_port(first: int, count: int = 20) -> int:
    """The first port from `first` on that nobody listens on."""
    for port in range(first, first + count):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise SystemExit(
        f"Expected a free port from {first} to {first + count - 1}, got none. Choose another: --port"
    )


@contextmanager
def process(command: list[str], environment: dict, log: Path, address: str) -> Iterator[None]:
    """Run a server until the block ends; waits until it answers at `address`."""
    with open(log, "w") as stream:
        # in a group of its own: Ctrl+C reaches this script alone, which then stops the server
        running = subprocess.Popen(
            command, env=environment, stdout=stream, stderr=stream, start_new_session=True
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            if running.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"The server did not start:\n{log.read_text()[-2000:]}\n({log})")
            try:
                requests.get(address, timeout=10).raise_for_status()
                break
            except requests.RequestException:
                time.sleep(0.3)
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if running.poll() is None:
                os.killpg(running.pid, number)
                try:
                    running.wait(timeout=15)
                except subprocess.TimeoutExpired:
                    continue


@contextmanager
def orthanc(output: Path, studies: Path) -> Iterator[tuple[str, str]]:
    """Orthanc with the studies as DICOM series; gives its DICOMweb address and one study's identifier."""
    port = free_port(8042)
    command = ["bash", str(ROOT / "scripts" / "start_orthanc.sh"), str(output / "orthanc")]
    environment = {**os.environ, "ORTHANC_PORT": str(port)}
    address = f"http://127.0.0.1:{port}"
    with process(command, environment, output / "orthanc.log", f"{address}/system"):
        study = ""
        for path in sorted(studies.glob("*.nii.gz")):
            image = nib.as_closest_canonical(nib.load(path))
            volume = np.asarray(image.dataobj, dtype=np.float32)
            last = image.affine @ [volume.shape[0] - 1, volume.shape[1] - 1, 0, 1]
            name = path.name.removesuffix(".nii.gz")
            folder = output / "dicom" / name
            origin = (-last[0], -last[1], last[2])
            write_mr_series(folder, volume, name, image.header.get_zooms(), origin)
            for file in sorted(folder.glob("*.dcm")):
                sent = requests.post(f"{address}/instances", data=file.read_bytes(), timeout=60)
                sent.raise_for_status()
                study = requests.get(f"{address}{sent.json()['Path']}/study", timeout=60).json()[
                    "MainDicomTags"
                ]["StudyInstanceUID"]
        yield f"{address}/dicom-web", study
