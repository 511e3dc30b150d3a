"""`conceptseg doctor`: what is installed and reachable, and the cure for each fault."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from packaging.requirements import Requirement

from .dicomweb import probe

PYTHONS = ((3, 11), (3, 12))
# Versions that break what they meet, found by running them; requirements.txt names those that work.
TRAPS = (
    ("dicomweb-client<0.60", "monailabel", "MONAI Label 0.8.5 does not start with newer ones"),
    ("pynetdicom<3", "monailabel", "newer ones ask for pydicom 3"),
)


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        name: what was looked at.
        state: "ok", "note" or "fault".
        found: what was there.
        cure: what to do; empty when nothing.
    """

    name: str
    state: str
    found: str
    cure: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("--bundle", help="also check this bundle's weights and network")
    parser.add_argument("--dicomweb", metavar="URL", help="also ask this DICOMweb server")
    parser.add_argument("--user", help="USER:PASSWORD for the DICOMweb server")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.epilog = "exit codes: 0 no fault, 1 a fault was found, 2 wrong arguments"


def main(args: argparse.Namespace) -> int:
    """Look, print; 1 when there is a fault."""
    findings = [check_python(), *check_packages(), *check_traps(), check_gpu()]
    if args.bundle:
        findings += check_bundle(args.bundle)
    if args.dicomweb:
        findings += [Finding(*found) for found in probe(args.dicomweb, args.user)]
    if args.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        for finding in findings:
            print(f"{finding.state:6} {finding.name:24} {finding.found}")
            if finding.cure:
                print(f"{'':31} -> {finding.cure}")
    return int(any(finding.state == "fault" for finding in findings))


def check_python() -> Finding:
    """The Python that runs."""
    low, high = (".".join(map(str, version)) for version in PYTHONS)
    is_good = PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]
    cure = "" if is_good else f"make an environment with Python {low} to {high}"
    return Finding("python", "ok" if is_good else "fault", platform.python_version(), cure)


def check_packages() -> Iterator[Finding]:
    """What the package asks for; extras only where they are installed."""
    try:
        wanted = [Requirement(text) for text in importlib.metadata.requires("conceptseg") or ()]
    except importlib.metadata.PackageNotFoundError:
        yield Finding("conceptseg", "fault", "not installed", "pip install -e . in the repository")
        return
    yield Finding("conceptseg", "ok", importlib.metadata.version("conceptseg"))
    for requirement in wanted:
        is_extra = requirement.marker is not None
        found = check_requirement(requirement)
        if found.state == "fault" and is_extra and found.found == "not installed":
            extra = re.search(r"extra == ['\"](\w+)", str(requirement.marker))
            name = extra.group(1) if extra else "?"
            cure = f"only for the extra {name}: pip install 'conceptseg[{name}]'"
            found = Finding(found.name, "note", found.found, cure)
        yield found


def check_requirement(requirement: Requirement) -> Finding:
    """One requirement against what is installed."""
    wanted = f"{requirement.name}{requirement.specifier}"
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return Finding(requirement.name, "fault", "not installed", f"pip install '{wanted}'")
    if not requirement.specifier.contains(version.partition("+")[0], prereleases=True):
        said = f"{version}, expected {requirement.specifier}"
        return Finding(requirement.name, "fault", said, f"pip install '{wanted}'")
    return Finding(requirement.name, "ok", version)


def check_traps() -> Iterator[Finding]:
    """Versions that are allowed by their packages and break others here."""
    for text, needed_by, why in TRAPS:
        try:
            importlib.metadata.version(needed_by)
        except importlib.metadata.PackageNotFoundError:
            continue
        found = check_requirement(Requirement(text))
        if found.state == "fault" and found.found != "not installed":
            yield Finding(found.name, found.state, f"{found.found}: {why}", found.cure)


def check_gpu() -> Finding:
    """The GPU that PyTorch sees, or why it sees none."""
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return Finding("gpu", "ok", f"{', '.join(names)}; CUDA {torch.version.cuda}")
    if shutil.which("nvidia-smi"):
        built = torch.version.cuda or "no CUDA"
        cure = "update the NVIDIA driver, or install the PyTorch build that fits it (pytorch.org)"
        return Finding("gpu", "fault", f"a driver, but PyTorch ({built}) does not see it", cure)
    return Finding("gpu", "note", f"none; the CPU is used, {torch.get_num_threads()} threads")


def check_bundle(name: str) -> Iterator[Finding]:
    """A bundle's weights and network."""
    from ..errors import root_cause
    from ..onnx_compare import load_network
    from .workflow import Workflow, find_bundle

    try:
        workflow = Workflow(find_bundle(name), find_bundle(name), find_bundle(name), {})
        network = load_network(workflow.parser)
    except Exception as error:
        yield Finding(
            "bundle", "fault", str(root_cause(error)), "train it, or get its weights again"
        )
        return
    count = sum(parameter.numel() for parameter in network.parameters())
    said = f"{workflow.bundle.name} {workflow.version}, {count / 1e6:.2f} million parameters"
    yield Finding("bundle", "ok", said)
    yield Finding("labels", "ok", ", ".join(workflow.keywords))
