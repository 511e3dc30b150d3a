"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real images; a test that needs it is skipped where it is absent."""
    folder = Path(os.environ.get("CONCEPTSEG_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "index.csv").exists():
        pytest.skip(f"real images not found at {folder}; set CONCEPTSEG_DATA to their folder")
    return folder


@pytest.fixture
def fixed_seed() -> None:
    """Seed torch for one test."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def metadata_schema() -> Path:
    """MONAI's schema of a bundle's metadata.json."""
    return ROOT / "tests" / "data" / "meta_schema_20240725.json"
