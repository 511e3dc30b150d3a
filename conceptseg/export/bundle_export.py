"""A self-contained copy of a bundle: its code in `scripts`, its weights with SHA-256, ready to zip."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from ..atomic import atomic_path, write_text_atomic
from .checksums import file_sha256, write_sums
from .closure import PACKAGE_DIR, config_modules, needed_files
from .renaming import EXPORTED, add_path_steps, load_config, rename_in_text

WEIGHTS = "models/model.pt"
ONNX_MODELS = ("models/model.onnx", "models/model_int8.onnx")
CONFIG_SUFFIXES = (".yaml", ".yml", ".json")
_COPIED_FOLDERS = ("configs", "docs")
_NOT_SHARED = ("card.yaml",)  # the source of docs/README.md
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can say: the same bundle, the same archive


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        folder: the self-contained bundle.
        archive: its zip, or None.
        files: Python files in its `scripts` folder.
        weights: "in models/model.pt", the address, or "none".
        weights_sha256: of the weights, or None without any.
    """

    folder: Path
    archive: Path | None
    files: int
    weights: str
    weights_sha256: str | None


def export_bundle(
    bundle: Path,
    out: Path,
    weights: Path | None = None,
    weights_url: str | None = None,
    without_weights: bool = False,
    make_zip: bool = False,
    overwrite: bool = False,
) -> Exported:
    """Write `out`/NAME, a copy of `bundle` that needs no installed package but those it lists.

    Args:
        bundle: folder with configs that name modules of this package.
        out: folder to write to.
        weights: file to take as models/model.pt instead of the bundle's own.
        weights_url: where the weights will lie: they stay out, large_files.yml names address and
            SHA-256.
        without_weights: export a recipe only.
        make_zip: also write `out`/NAME_vVERSION.zip, as `monai.bundle download` expects it.
        overwrite: replace what is there.

    Raises:
        FileNotFoundError: no bundle, or no weights and not `without_weights`.
        FileExistsError: the target exists and `overwrite` is false.
        ValueError: the bundle is an exported one already, or its configs cannot be renamed.
    """
    bundle, out = Path(bundle).resolve(), Path(out)
    metadata = _read_metadata(bundle)
    source = _find_weights(bundle, weights, without_weights)
    target = out / bundle.name
    archive = out / f"{bundle.name}_v{metadata['version']}.zip" if make_zip else None
    for path in filter(None, (target, archive)):
        if path.exists() and not overwrite:
            raise FileExistsError(
                f"Expected nothing at '{path}', got an earlier export. Add --overwrite, or choose"
                " another folder."
            )
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".export_") as temporary:
        folder = Path(temporary) / bundle.name
        count = _write_folder(bundle, folder)
        digest = None if source is None else _put_weights(source, folder, weights_url)
        write_sums(folder)
        if target.exists():
            shutil.rmtree(target)
        folder.replace(target)
    if archive is not None:
        zip_bundle(target, archive)
    said = weights_url or (f"in {WEIGHTS}" if source is not None else "none")
    return Exported(target, archive, count, said, digest)


def _read_metadata(bundle: Path) -> dict[str, Any]:
    """The metadata of a bundle that can be exported."""
    file = bundle / "configs" / "metadata.json"
    if not file.is_file():
        raise FileNotFoundError(
            f"Expected a bundle folder with configs/metadata.json, got '{bundle}'. Check the path."
        )
    if (bundle / EXPORTED).exists():
        raise ValueError(
            f"Expected a bundle of this repository, got '{bundle}', which holds its own"
            f" {EXPORTED}: it is exported already. Give the original."
        )
    metadata = json.loads(file.read_text(encoding="utf-8"))
    if "version" not in metadata:
        raise ValueError(f"Expected a version in '{file}', got none. Add version and changelog.")
    return metadata


def _find_weights(bundle: Path, weights: Path | None, without_weights: bool) -> Path | None:
    """The weights file to export, checked to hold tensors only."""
    if without_weights:
        return None
    file = Path(weights) if weights is not None else bundle / WEIGHTS
    if not file.is_file():
        raise FileNotFoundError(
            f"Expected weights at '{file}', got no file. Train the bundle, give --weights FILE, or"
            " share the recipe alone with --without_weights."
        )
    torch.load(file, map_location="cpu", weights_only=True)
    return file


def _write_folder(bundle: Path, folder: Path) -> int:
    """Copy configs, docs, licence and code; the number of Python files."""
    for name in _COPIED_FOLDERS:
        for file in sorted((bundle / name).rglob("*")):
            hidden = any(part.startswith(".") for part in file.relative_to(bundle).parts)
            if file.is_file() and not hidden and file.name not in _NOT_SHARED:
                _copy(file, folder / file.relative_to(bundle))
    _copy(bundle / "LICENSE", folder / "LICENSE")
    for name in ONNX_MODELS:
        if (bundle / name).is_file():
            _copy(bundle / name, folder / name)
    files = [f for f in (folder / "configs").iterdir() if f.suffix in CONFIG_SUFFIXES]
    modules = config_modules(load_config(f) for f in files)
    for file in files:
        text = rename_in_text(file.read_text(encoding="utf-8"))
        text = text if file.suffix == ".json" else add_path_steps(text)
        file.write_text(text, encoding="utf-8")
    sources = needed_files(modules)
    for file in sources:
        _copy(file, folder / EXPORTED / file.relative_to(PACKAGE_DIR))
    return len(sources)


def _copy(source: Path, target: Path) -> None:
    """Copy a file's content."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _put_weights(source: Path, folder: Path, url: str | None) -> str:
    """Weights into the bundle, or their address and SHA-256 into large_files.yml; the SHA-256."""
    digest = file_sha256(source)
    if url is None:
        _copy(source, folder / WEIGHTS)
        return digest
    entry = {"path": WEIGHTS, "url": url, "hash_val": digest, "hash_type": "sha256"}
    text = yaml.safe_dump({"large_files": [entry]}, sort_keys=False)
    write_text_atomic(folder / "large_files.yml", text)
    return digest


def zip_bundle(folder: Path, archive: Path) -> None:
    """Zip `folder` under its own name; equal content gives an equal archive."""
    with atomic_path(archive) as temporary, zipfile.ZipFile(temporary, "w") as target:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            if "__pycache__" in file.parts:
                continue
            entry = zipfile.ZipInfo(
                f"{folder.name}/{file.relative_to(folder).as_posix()}", _ZIP_DATE
            )
            entry.external_attr = 0o644 << 16
            target.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)
