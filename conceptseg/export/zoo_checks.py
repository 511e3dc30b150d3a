"""The checks that the MONAI Model Zoo's CI and contribution rules make, on an exported bundle.

Sources: Project-MONAI/model-zoo, ci/verify_bundle.py and CONTRIBUTING.md; the metadata schema
meta_schema_20240725; MONAI 1.6.1's workflow properties. The zoo's TorchScript export is left out, as
for bundles on its own exclusion list: the network returns dataclasses, which TorchScript refuses.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.bundle import verify_metadata

from .bundle_export import CONFIG_SUFFIXES, WEIGHTS
from .checksums import SUMS_FILE, compare_sums, folder_sums, read_sums
from .closure import third_party
from .renaming import EXPORTED, PACKAGE, load_config, names_module

MAX_FILE_BYTES = 25 * 1024 * 1024  # the zoo's limit for one file
README_SECTIONS = (
    *("Overview", "Data", "Training configuration", "Input", "Output", "Performance"),
    *("Bundle Commands", "References", "License"),
)
_REQUIRED_FILES = ("LICENSE", "configs/metadata.json", "docs/README.md", "docs/data_license.txt")
_PREFERRED_LICENCE = "Apache License"
LICENCE_TO_STATE = "Name here whose images these weights were trained on, and under which terms."
NOT_STATED = "not stated"  # in metadata.json of a bundle that nobody has completed yet
_MACHINE_PATH = re.compile(
    r"(?<![\w.:/@-])/(?:home|Users|root|mnt|media|work|workspace|tmp|opt|srv|data|scratch)/[\w.-]+"
    r"|(?<!\w)[A-Za-z]:\\\w+"
)
_TEXT_SUFFIXES = (*CONFIG_SUFFIXES, ".conf", ".md", ".txt", ".py")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_PROBED = {
    "network_in_out": "verify_net_in_out",
    "workflow_ids": "workflow ids",
    "weights": "weights fit",
}
_PROBE_SECONDS = 600


@dataclass(frozen=True)
class Check:
    """One line of the verdict.

    Attributes:
        name: what was checked.
        passed: None when it could not be checked.
        detail: what was found.
    """

    name: str
    passed: bool | None
    detail: str


def check_bundle(bundle: Path, schema: Path | None = None) -> list[Check]:
    """Check an exported bundle.

    Args:
        bundle: its folder.
        schema: local copy of the metadata schema; without it the schema is not checked, as
            nothing is downloaded.

    Raises:
        FileNotFoundError: no bundle there.
    """
    if not (bundle / "configs" / "metadata.json").is_file():
        raise FileNotFoundError(
            f"Expected a bundle folder with configs/metadata.json, got '{bundle}'. Check the path."
        )
    bundle = bundle.resolve()
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
    steps: list[tuple[str, Callable[[], str]]] = [
        ("required files", lambda: _required_files(bundle)),
        ("version and changelog", lambda: _version(metadata)),
        ("package pins", lambda: _pins(metadata)),
        ("file names", lambda: _file_names(bundle)),
        ("file sizes", lambda: _file_sizes(bundle)),
        ("no machine paths", lambda: _machine_paths(bundle)),
        ("licences", lambda: _licences(bundle, metadata)),
        ("README sections", lambda: _readme(bundle)),
        ("self-contained", lambda: _self_contained(bundle, metadata)),
        ("SHA-256 list", lambda: _sums(bundle)),
    ]
    checks = [_checked(name, step) for name, step in steps]
    checks.insert(2, _schema(bundle, schema))
    return checks + _probe(bundle)


def _checked(name: str, step: Callable[[], str]) -> Check:
    """Run one step; it raises ValueError where the check fails."""
    try:
        return Check(name, True, step())
    except (ValueError, OSError) as error:
        return Check(name, False, str(error))


def _files(bundle: Path) -> list[Path]:
    """Files of the bundle without Python's caches."""
    files = (p for p in bundle.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return sorted(files)


def _large_files(bundle: Path) -> list[dict[str, Any]]:
    """Entries of large_files.yml."""
    for suffix in ("yml", "yaml", "json"):
        file = bundle / f"large_files.{suffix}"
        if file.is_file():
            return load_config(file)["large_files"]
    return []


def _required_files(bundle: Path) -> str:
    """Files the zoo requires or prefers."""
    missing = [name for name in _REQUIRED_FILES if not (bundle / name).is_file()]
    if not any((bundle / "configs" / f"inference.{s}").is_file() for s in ("json", "yaml")):
        missing.append("configs/inference.json or .yaml")
    large = _large_files(bundle)
    for entry in large:
        if not {"path", "url"} <= entry.keys() or not entry.get("hash_val"):
            raise ValueError(f"large_files entry without path, url or hash_val: {entry}")
    if not (bundle / WEIGHTS).is_file() and WEIGHTS not in [entry["path"] for entry in large]:
        missing.append(f"{WEIGHTS} or an entry for it in large_files.yml")
    if missing:
        raise ValueError(f"missing: {', '.join(missing)}")
    return "all there" + (", weights by large_files.yml" if large else "")


def _version(metadata: dict[str, Any]) -> str:
    """The version stands in the changelog."""
    version = str(metadata.get("version", ""))
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise ValueError(f"expected a version like 0.1.0, got {version!r}")
    if version not in metadata.get("changelog", {}):
        raise ValueError(f"version {version} is not in the changelog")
    return version


def _schema(bundle: Path, schema: Path | None) -> Check:
    """MONAI's own metadata check against a local schema."""
    if schema is None or not schema.is_file():
        return Check("metadata schema", None, "no local copy of the schema given (--schema FILE)")
    meta = str(bundle / "configs" / "metadata.json")

    def verify() -> str:
        """An existing file is used, not downloaded."""
        verify_metadata(meta_file=meta, filepath=str(schema))
        return schema.name

    return _checked("metadata schema", verify)


def _pins(metadata: dict[str, Any]) -> str:
    """All versions are exact."""
    pins = dict(metadata.get("required_packages_version", {}))
    pins |= {k: metadata.get(k) for k in ("monai_version", "pytorch_version", "numpy_version")}
    loose = [f"{k} {v}" for k, v in pins.items() if not re.fullmatch(r"\d+(\.\w+)+", str(v))]
    if loose:
        raise ValueError(f"not exact: {', '.join(loose)}")
    return f"{len(pins)} exact versions"


def _file_names(bundle: Path) -> str:
    """Plain ASCII names, nothing hidden, a folder name that says the task."""
    bad = [
        path.relative_to(bundle).as_posix()
        for path in _files(bundle)
        if not all(_PLAIN_NAME.fullmatch(part) for part in path.relative_to(bundle).parts)
    ]
    if bad:
        raise ValueError(f"hidden, or not letters, digits, _ . -: {', '.join(bad[:5])}")
    if not re.fullmatch(r"[a-z0-9A-Z]+(_[a-z0-9A-Z]+)*_segmentation", bundle.name):
        raise ValueError(f"expected a folder name TARGET_segmentation, got {bundle.name!r}")
    return f"{len(_files(bundle))} files in {bundle.name}"


def _file_sizes(bundle: Path) -> str:
    """No file above the zoo's limit."""
    sizes = {path: path.stat().st_size for path in _files(bundle)}
    big = [f"{p.name} {n / 2**20:.1f} MB" for p, n in sizes.items() if n > MAX_FILE_BYTES]
    if big:
        raise ValueError(f"above 25 MB, move to large_files.yml (--weights_url): {', '.join(big)}")
    return f"largest {max(sizes.values()) / 2**20:.1f} MB of 25"


def _machine_paths(bundle: Path) -> str:
    """No path of the machine it was made on."""
    found = []
    for path in _files(bundle):
        if path.suffix in _TEXT_SUFFIXES:
            text = path.read_text(encoding="utf-8", errors="replace")
            found += [
                f"{path.relative_to(bundle)}: {m.group()}" for m in _MACHINE_PATH.finditer(text)
            ]
    if found:
        raise ValueError("; ".join(found[:5]))
    return "none in configs, docs and code"


def _licences(bundle: Path, metadata: dict[str, Any]) -> str:
    """The zoo's preferred licence for the code, one named for the data, and people who answer for both."""
    licence = bundle / "LICENSE"
    if not licence.is_file() or _PREFERRED_LICENCE not in licence.read_text(encoding="utf-8")[:500]:
        raise ValueError(f"expected the {_PREFERRED_LICENCE} (the zoo prefers 2.0) in LICENSE")
    file = bundle / "docs" / "data_license.txt"
    terms = file.read_text(encoding="utf-8").strip() if file.is_file() else ""
    if len(terms) < 20:
        raise ValueError("docs/data_license.txt is missing or empty")
    if LICENCE_TO_STATE in terms:
        raise ValueError(
            f"docs/data_license.txt still asks {LICENCE_TO_STATE!r}; put the answer in its place"
        )
    named = ("authors", "copyright", "data_source")
    absent = [key for key in named if metadata.get(key, "") in ("", NOT_STATED)]
    if absent:
        raise ValueError(f"metadata.json does not state {', '.join(absent)}")
    return f"{_PREFERRED_LICENCE} 2.0; data licence named"


def _readme(bundle: Path) -> str:
    """The sections of the zoo's template."""
    text = (bundle / "docs" / "README.md").read_text(encoding="utf-8")
    absent = [s for s in README_SECTIONS if not re.search(rf"^#+ {s}", text, re.MULTILINE)]
    if absent:
        raise ValueError(f"sections missing: {', '.join(absent)}")
    return f"{len(README_SECTIONS)} sections"


def _self_contained(bundle: Path, metadata: dict[str, Any]) -> str:
    """No config names the installed package; what the code imports is pinned."""
    for path in sorted((bundle / "configs").iterdir()):
        if path.suffix in CONFIG_SUFFIXES:
            named = list(names_module(load_config(path), PACKAGE))
            if named:
                raise ValueError(f"{path.name} names {PACKAGE}: {named[0]}")
    files = list((bundle / EXPORTED).rglob("*.py"))
    pinned = {*metadata.get("required_packages_version", {}), "monai", "torch", "numpy"}
    modules = importlib.metadata.packages_distributions()
    unpinned = [
        module
        for module in sorted(third_party(files, known=(EXPORTED,)))
        if not {name.lower() for name in (module, *modules.get(module, []))} & pinned
    ]
    if unpinned:
        raise ValueError(f"imported but not in required_packages_version: {', '.join(unpinned)}")
    return f"{len(files)} Python files, all imports pinned"


def _sums(bundle: Path) -> str:
    """The list fits the files."""
    listed = read_sums((bundle / SUMS_FILE).read_text(encoding="utf-8"))
    found = {n: d for n, d in folder_sums(bundle).items() if "__pycache__" not in n}
    problems = compare_sums(listed, found)
    if problems:
        raise ValueError("; ".join(problems[:5]))
    return f"{len(found)} files"


def _probe(bundle: Path) -> list[Check]:
    """Checks that load the bundle's code, in a process of their own."""
    items = [i for i in _PROBED if i != "weights" or (bundle / WEIGHTS).is_file()]
    command = [sys.executable, str(Path(__file__).with_name("probe.py")), *items]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "CUDA_VISIBLE_DEVICES": ""}
    result = subprocess.run(
        command,
        cwd=bundle,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_PROBE_SECONDS,
        check=False,
    )
    try:
        found = json.loads(result.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        said = (result.stderr.strip().splitlines() or ["no output"])[-1]
        found = {item: [False, said] for item in items}
    checks = [Check(_PROBED[item], *found[item]) for item in items]
    if "weights" not in items:
        checks.append(Check(_PROBED["weights"], None, "no weights in the folder"))
    return checks
