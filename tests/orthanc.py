"""An Orthanc server for DICOM series."""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
import requests

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "start_orthanc.sh"
START_SECONDS = 60


class Orthanc:
    """Orthanc with its DICOMweb plug-in, started by the project's own script; skips where it is absent.

    Args:
        folder: for its images and its log.
    """

    def __init__(self, folder: Path) -> None:
        plugins = list(Path("/usr/share/orthanc/plugins").glob("libOrthancDicomWeb.so*"))
        if shutil.which("Orthanc") is None or not plugins:
            pytest.skip("Orthanc with its DICOMweb plug-in is not installed")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.address}/dicom-web"
        with open(folder / "orthanc.log", "w") as log:
            self.process = subprocess.Popen(
                ["bash", str(SCRIPT), str(folder / "images")],
                env={**os.environ, "ORTHANC_PORT": str(self.port)},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, (folder / "orthanc.log").read_text()[-3000:]
            try:
                requests.get(f"{self.address}/system", timeout=5).raise_for_status()
                return
            except requests.ConnectionError:
                time.sleep(0.2)
        self.stop()
        raise TimeoutError((folder / "orthanc.log").read_text()[-3000:])

    def add(self, folder: Path) -> None:
        """Send the DICOM files of a folder to the server."""
        for path in sorted(folder.glob("*.dcm")):
            answer = requests.post(f"{self.address}/instances", data=path.read_bytes(), timeout=30)
            answer.raise_for_status()

    def series(self, modality: str) -> list[dict[str, str]]:
        """Main DICOM tags of all series of a modality."""
        found = requests.get(f"{self.address}/series?expand", timeout=30).json()
        return [
            {**s["MainDicomTags"], "ID": s["ID"], "Instances": s["Instances"]}
            for s in found
            if s["MainDicomTags"]["Modality"] == modality
        ]

    def file(self, instance: str) -> bytes:
        """A DICOM file by Orthanc's own name of it."""
        return requests.get(f"{self.address}/instances/{instance}/file", timeout=30).content

    def stop(self) -> None:
        """End the server."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(timeout=30)
