"""The quickstart from its first mask to the running server, as a person without a terminal starts it."""

import os
import re
import socket
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest


@pytest.fixture
def run(repository, tmp_path):
    """Run the quickstart with arguments; gives its output."""
    pytest.importorskip("nilearn", reason="nilearn carries the template")

    def start(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "scripts/quickstart.py", "--output", str(tmp_path), *arguments],
            cwd=repository,
            env={**os.environ, "CI": "true", "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    return start


def labels_of(folder):
    """Values of each mask in a folder."""
    return [set(np.unique(nib.load(file).dataobj)) for file in sorted(folder.glob("*_seg.nii.gz"))]


def test_quickstart_segments_serves_and_ends_without_a_terminal(run, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:  # somebody else's port
        port = taken.getsockname()[1]
        output = run("--port", str(port))
    assert labels_of(tmp_path / "text_free") == [{0, 1, 2}] * 2
    assert labels_of(tmp_path / "prompt") == [{0, 2}] * 2  # of the posterior hippocampus alone
    (url,) = set(re.findall(r"(http://127\.0\.0\.1:\d+) answers", output))
    assert int(url.rpartition(":")[2]) > port
    first, second = (
        float(t) for t in re.findall(r"([\d.]+) s[ ,]", output.partition("answers")[2])[:2]
    )
    assert first > 0 and second > 0
    assert "3D Slicer" in output and "OHIF" in output and url in output.partition("3D Slicer")[2]
    assert output.rstrip().endswith("The server is stopped.")
    with socket.socket() as probe:  # nothing is left behind
        assert probe.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))) != 0


def test_quickstart_without_the_server_starts_none(run, tmp_path):
    assert "server" not in run("--no-serve").lower()
    assert not (tmp_path / "server.log").exists()
