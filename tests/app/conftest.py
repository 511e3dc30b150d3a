"""Servers started as a user starts them, on phantoms."""

import contextlib
import hashlib
import inspect
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import requests
import torch
from filelock import FileLock
from small_bundles import (
    photo_phantom,
    small_bundle,
    train_bundle,
    train_photo_bundle,
    train_volume_bundle,
    volume_phantom,
    write_volume,
)

APP = Path(__file__).resolve().parents[2] / "apps" / "conceptseg"
START_SECONDS = 400  # a busy computer; about 8 on an idle one


# The app's modules are imported as MONAI Label does it: as `lib`.
sys.path.insert(0, str(APP))


@pytest.fixture(scope="session")
def phantoms():
    """Write phantom volumes to a folder; gives name -> label map."""

    def write(folder: Path, seeds) -> dict[str, np.ndarray]:
        labels = {}
        for seed in seeds:
            image, labels[f"case_{seed}"] = volume_phantom(seed)
            write_volume(folder / f"case_{seed}.nii.gz", image)
        return labels

    return write


@pytest.fixture(scope="session")
def volume():
    """Seed -> volume and label map (32, 40, 24)."""
    return volume_phantom


@pytest.fixture(scope="session")
def photos():
    """Seed -> photograph (rows, columns, 3) and mask (rows, columns)."""
    return photo_phantom


@pytest.fixture(scope="session")
def bundles(repository, request, tmp_path_factory) -> Path:
    """Folder with both bundles of the repository, small and trained on phantoms.

    Trained once: pytest's cache keeps them until the package, a config or the training here changes.
    """
    sources = [*(repository / "conceptseg").rglob("*.py"), *repository.glob("bundles/*/configs/*")]
    content = b"".join(path.read_bytes() for path in sorted(sources))
    for part in (small_bundle, train_bundle, train_volume_bundle, train_photo_bundle):
        content += inspect.getsource(part).encode()
    folder = request.config.cache.mkdir(f"bundles_{hashlib.sha1(content).hexdigest()[:16]}")
    with FileLock(f"{folder}.lock"):  # the test processes share them
        if not (folder / "done").exists():
            threads = torch.get_num_threads()
            torch.set_num_threads(1)
            train_volume_bundle(repository, folder, tmp_path_factory.mktemp("volumes"))
            train_photo_bundle(repository, folder, tmp_path_factory.mktemp("photos"))
            torch.set_num_threads(threads)
            (folder / "done").touch()
    return folder


class Server:
    """A MONAI Label server in its own process.

    Args:
        folder: for its log, sessions and weights.
        studies: folder or DICOMweb address.
        bundles: folder of the bundles.
        names: bundles to serve.
        environment: further variables.
        options: further words of the command line.
        tls: certificate and key files.
    """

    def __init__(self, folder, studies, bundles, names, environment=None, options=(), tls=None):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.certificate = str(tls[0]) if tls else True
        options = [*options, "--ssl_certfile", tls[0], "--ssl_keyfile", tls[1]] if tls else options
        self.log = folder / "server.log"
        self.command = [
            *(sys.executable, "-m", "monailabel.main", "start_server", "--app", str(APP)),
            *("--studies", str(studies), "--port", str(self.port), "--conf", "bundles", names),
            *("--conf", "bundles_dir", str(bundles), "--conf", "model_dir", str(folder / "model")),
            *("--conf", "device", "cpu", *map(str, options)),
        ]
        self.environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "MONAI_LABEL_SESSION_PATH": str(folder / "sessions"),
            **(environment or {}),
        }

    def start(self) -> "Server":
        """Start and wait until it answers."""
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(
                self.command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment,
                cwd=self.log.parent,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            try:
                requests.get(f"{self.url}/info/", timeout=5, verify=self.certificate)
                return self
            except requests.ConnectionError:
                time.sleep(0.3)
        raise TimeoutError(self.log.read_text()[-3000:])

    def stop(self) -> None:
        """End the server and what it started."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                os.killpg(self.process.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(timeout=20)


@pytest.fixture(scope="session")
def serve(tmp_path_factory, bundles):
    """Start servers; all are stopped at the end."""
    servers = []

    def start(studies, names, environment=None, options=(), tls=None) -> Server:
        folder = tmp_path_factory.mktemp("server")
        made = Server(folder, studies, bundles, names, environment, options, tls)
        servers.append(made)
        made.start()
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def artefacts(tmp_path_factory) -> Path:
    """Folder for transcripts and screenshots: CONCEPTSEG_ARTEFACTS, else a temporary one."""
    given = os.environ.get("CONCEPTSEG_ARTEFACTS")
    folder = Path(given) if given else tmp_path_factory.mktemp("artefacts")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def volume_studies(phantoms, tmp_path_factory) -> Path:
    """A studies folder of five volumes, case_100 to case_104, none of them labelled by any test."""
    folder = tmp_path_factory.mktemp("volume_studies")
    phantoms(folder, range(100, 105))
    return folder


@pytest.fixture(scope="session")
def volume_server(serve, volume_studies) -> Server:
    """A server on these volumes."""
    return serve(volume_studies, "hippocampus_mr_segmentation")
