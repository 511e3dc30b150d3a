"""The doctor: versions that break others are faults, those the app can live with are not."""

import importlib.metadata

import pytest

from conceptseg.cli import doctor

INSTALLED = {"monailabel": "0.8.5", "dicomweb-client": "0.59.3", "pynetdicom": "2.1.1"}


@pytest.fixture
def installed(monkeypatch):
    """Lets chosen versions be found; packages without one are not installed."""

    def choose(**versions: str) -> list[doctor.Finding]:
        found = INSTALLED | {name.replace("_", "-"): text for name, text in versions.items()}

        def version(name: str) -> str:
            if name not in found:
                raise importlib.metadata.PackageNotFoundError(name)
            return found[name]

        monkeypatch.setattr(importlib.metadata, "version", version)
        return list(doctor.check_traps())

    return choose


def test_versions_that_the_app_works_with_are_not_remarked_on(installed):
    assert installed(pyjwt="2.15.1") == []


def test_a_version_that_breaks_another_package_is_a_fault_with_its_cure(installed):
    (found,) = installed(dicomweb_client="0.60.0")
    assert found.state == "fault" and "does not start" in found.found
    assert found.cure == "pip install 'dicomweb-client<0.60'"
