"""What a received bundle is, said before anything of it is unpacked, imported or run."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ..prompts import CompactTextEncoder
from .archives import (
    TENSOR_SUFFIXES,
    file_problems,
    load_tensors,
    logging_problems,
    name_problems,
)
from .checksums import SUMS_FILE, compare_sums, file_sha256, read_sums
from .closure import PACKAGE_DIR
from .expressions import ConfigAudit, import_aliases
from .renaming import EXPORTED, PACKAGE, parse_config

_DISTRIBUTIONS = {"pytorch": "torch"}
_CHECKSUM_KEY = "text_encoder.vocabulary_checksum"
_SHOWN_FILES = 5


@dataclass
class Received:
    """What was found.

    Attributes:
        facts: name, version, SHA-256 of the archive, labels, weights, vocabulary, licences ...
        refused: reasons not to use the bundle; empty when there are none.
        notes: what to know, such as other versions of libraries.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_usable(self) -> bool:
        """True when nothing speaks against using it."""
        return not self.refused

    def to_json(self) -> str:
        """Everything found, for machines."""
        return json.dumps({"usable": self.is_usable, **vars(self)}, indent=1)


def inspect_archive(path: Path, allow: Iterable[str] = ()) -> Received:
    """Read a bundle's zip and judge it; nothing is written and none of its code runs.

    Args:
        path: zip file with one bundle folder.
        allow: module prefixes to trust besides the built-in list; "scripts" trusts the code that
            the bundle carries even where it differs from the installed package.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no zip file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"Expected a bundle's zip, got '{path}', which is no file.")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"Expected a zip archive, got '{path}'. Ask the sender for one.")
    result = Received({"archive": path.name, "sha256": file_sha256(path)})
    with zipfile.ZipFile(path) as archive:
        result.refused += name_problems(archive)
        if result.refused:
            return result
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        result.facts["name"] = PurePosixPath(entries[0].filename).parts[0]
        try:
            files = {
                "/".join(PurePosixPath(entry.filename).parts[1:]): archive.read(entry)
                for entry in entries
            }
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
            result.refused.append(f"the archive is damaged: {error}")
            return result
    _Inspection(files, tuple(allow), result).run()
    return result


class _Inspection:
    """The checks on the files of one archive, in `run`'s order."""

    def __init__(self, files: dict[str, bytes], allow: tuple[str, ...], result: Received) -> None:
        self.files, self.allow, self.result = files, allow, result
        self.facts, self.refused, self.notes = result.facts, result.refused, result.notes
        self.configs: dict[str, Any] = {}
        self.metadata: dict[str, Any] = {}
        self.own_code = False

    def run(self) -> None:
        """All checks."""
        self._sums()
        self.refused += file_problems(self.files)
        self._read_configs()
        self._versions()
        self._licences()
        self._code()
        self._config_calls()
        self._labels_and_weights()

    def _text(self, name: str) -> str:
        """A file as text."""
        return self.files[name].decode("utf-8", errors="replace")

    def _sums(self) -> None:
        """The bundle's own list of hashes."""
        if SUMS_FILE not in self.files:
            self.notes.append(f"no {SUMS_FILE}: damage in transit cannot be seen")
            return
        found = {n: hashlib.sha256(c).hexdigest() for n, c in self.files.items() if n != SUMS_FILE}
        try:
            problems = compare_sums(read_sums(self._text(SUMS_FILE)), found)
        except ValueError as error:
            problems = [str(error)]
        self.refused += problems
        self.facts["hashes"] = f"{len(found)} files, {len(problems)} problems"

    def _read_configs(self) -> None:
        """Configs as plain data."""
        for name in self.files:
            if name.startswith("configs/") and name.endswith((".yaml", ".yml", ".json")):
                try:
                    self.configs[name] = parse_config(self._text(name), name)
                except ValueError as error:
                    self.refused.append(str(error))
        self.metadata = self.configs.pop("configs/metadata.json", None) or {}
        if not self.metadata:
            self.refused.append("no configs/metadata.json: not a MONAI bundle")
        if not any(re.fullmatch(r"configs/inference\.(yaml|json)", n) for n in self.configs):
            self.refused.append("no configs/inference.yaml or .json: it cannot be run")

    def _versions(self) -> None:
        """Versions asked for against those installed."""
        wanted = {
            key.removesuffix("_version"): value
            for key, value in self.metadata.items()
            if key in ("monai_version", "pytorch_version", "numpy_version")
        }
        wanted |= self.metadata.get("required_packages_version") or {}
        self.facts["version"] = self.metadata.get("version", "not said")
        self.facts["asks for"] = wanted
        for name, version in wanted.items():
            distribution = _DISTRIBUTIONS.get(name, name)
            try:
                installed = importlib.metadata.version(distribution).partition("+")[0]
            except importlib.metadata.PackageNotFoundError:
                installed = "none"
            if installed != str(version):
                self.notes.append(f"asks for {distribution} {version}, installed is {installed}")

    def _licences(self) -> None:
        """Licence of code and of data."""
        licence = next((n for n in self.files if re.fullmatch(r"LICEN[SC]E(\.\w+)?", n)), None)
        if licence is None:
            self.refused.append("no LICENSE: nothing says that it may be used")
        else:
            lines = [line.strip() for line in self._text(licence).splitlines() if line.strip()]
            self.facts["licence"] = ", ".join(lines[:2])
        if "docs/data_license.txt" in self.files:
            self.facts["data licence"] = self._text("docs/data_license.txt").strip()
        else:
            self.notes.append("no docs/data_license.txt: ask what the weights were trained on")

    def _code(self) -> None:
        """Python that comes with it: the installed package's own files, or code to read first."""
        python = [name for name in self.files if name.endswith(".py")]
        other = [name for name in python if not self._is_known(name)]
        self.facts["code"] = f"{len(python)} Python files, {len(other)} not of this {PACKAGE}"
        self.own_code = bool(python) and not other
        if other and EXPORTED not in self.allow:
            shown = ", ".join(other[:_SHOWN_FILES]) + (" ..." * (len(other) > _SHOWN_FILES))
            self.refused.append(
                f"{len(other)} Python files are not those of the installed {PACKAGE}: {shown};"
                f" read them, then add --allow {EXPORTED}"
            )

    def _is_known(self, name: str) -> bool:
        """Say whether a file of the archive is, byte for byte, one of the installed package's."""
        parts = PurePosixPath(name).parts
        file = PACKAGE_DIR.joinpath(*parts[1:])
        return parts[0] == EXPORTED and file.is_file() and file.read_bytes() == self.files[name]

    def _config_calls(self) -> None:
        """Targets, expressions and logging handlers."""
        try:
            aliases = import_aliases(self.configs.values())
        except ValueError as error:
            self.refused.append(str(error))
            aliases = {}
        audit = ConfigAudit(self.allow, aliases, self.own_code)
        for name, config in self.configs.items():
            self.refused += [f"{name}: {problem}" for problem in audit.problems(config)]
        for name in self.files:
            if name.startswith("configs/") and name.endswith((".conf", ".ini")):
                self.refused += logging_problems(name, self._text(name))

    def _labels_and_weights(self) -> None:
        """The labels, the weights, and the prompt vocabulary they were trained with."""
        inference = next((c for n, c in self.configs.items() if "/inference." in n), None) or {}
        outputs = self.metadata.get("network_data_format", {}).get("outputs", {})
        labels = next(iter(outputs.values()), {}).get("channel_def")
        self.facts["labels"] = labels or inference.get("keywords", "not said")
        weights, states = {}, {}
        for name in self.files:
            if name.endswith(TENSOR_SUFFIXES):
                state = load_tensors(name, self.files[name])
                if isinstance(state, str):
                    self.refused.append(state)
                    continue
                states[name] = state
                weights[name] = f"SHA-256 {hashlib.sha256(self.files[name]).hexdigest()}"
        for name in self.files:
            if re.fullmatch(r"large_files\.(ya?ml|json)", name):
                for entry in parse_config(self._text(name), name).get("large_files", []):
                    weights[entry["path"]] = f"{entry['url']}, {entry.get('hash_val') or 'no hash'}"
        self.facts["weights"] = weights or "none"
        self._vocabulary(inference.get("keywords"), states.get("models/model.pt", {}))

    def _vocabulary(self, keywords: Any, state: dict) -> None:
        """The prompt vocabulary of the weights against the installed package's."""
        saved = state.get(_CHECKSUM_KEY)
        if not isinstance(keywords, list) or saved is None:
            self.facts["vocabulary"] = "not said by the weights"
            return
        encoder = CompactTextEncoder([str(word) for word in keywords], 8, 8, 1, 1)
        self.facts["vocabulary"] = f"{len(encoder.vocabulary)} words, checksum {int(saved)}"
        if int(encoder.vocabulary_checksum) != int(saved):
            self.notes.append(
                f"the weights' vocabulary is not that of the installed {PACKAGE}: they work with"
                " the bundle's own code only"
            )
