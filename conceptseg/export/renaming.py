"""Renaming a module prefix in bundle configs: in `_target_` values and `$` expressions, nowhere else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

PACKAGE = __package__.partition(".")[0]
EXPORTED = "scripts"  # the zoo's convention, and the one name MONAI Label swaps between bundles
TARGET = "_target_"
# MONAI puts the bundle's folder on the path after "initialize" has run (workflows.py, 1.6.1), and our
# configs call their own code there: an exported bundle sees to it first, so it runs from anywhere.
PATH_STEPS = ("$import sys", "$sys.path.insert(1, @bundle_root)")


def is_target_key(key: Any) -> bool:
    """Say whether `key` sets a target, also in an overlay such as "train#loss#_target_"."""
    return re.split(r"#|::", str(key))[-1] == TARGET


def rename_modules(config: Any, old: str = PACKAGE, new: str = EXPORTED) -> Any:
    """A copy of `config` (dict, list or value) with modules below `old` named as below `new`."""
    if isinstance(config, dict):
        return {
            key: re.sub(rf"^{old}\.", f"{new}.", value)
            if is_target_key(key) and isinstance(value, str)
            else rename_modules(value, old, new)
            for key, value in config.items()
        }
    if isinstance(config, list):
        return [rename_modules(value, old, new) for value in config]
    if isinstance(config, str) and config.startswith("$"):
        return _rename_word(config, old, new)
    return config


def _rename_word(text: str, old: str, new: str) -> str:
    """`text` with `old` before a dot renamed."""
    return re.sub(rf"(?<![\w.]){old}(?=\.)", new, text)


def rename_in_text(text: str, old: str = PACKAGE, new: str = EXPORTED) -> str:
    """A YAML or JSON config with its modules renamed, comments and layout kept.

    Raises:
        ValueError: the text cannot be renamed line by line, or names `old` in an unusual way.
    """
    lines = []
    for line in text.splitlines(keepends=True):
        line = re.sub(rf"({TARGET}['\"]?\s*:\s*['\"]?){old}\.", rf"\g<1>{new}.", line)
        before, dollar, expression = line.partition("$")
        lines.append(before + dollar + _rename_word(expression, old, new))
    renamed = "".join(lines)
    expected = rename_modules(yaml.safe_load(text), old, new)
    if yaml.safe_load(renamed) != expected or any(names_module(expected, old)):
        raise ValueError(
            f"Expected '{old}' in targets and one-line expressions only, got a config that names it"
            " elsewhere. Write each _target_ and each $ expression on one line."
        )
    return renamed


def add_path_steps(text: str) -> str:
    """A YAML config whose "initialize" list, where it has one, begins with `PATH_STEPS`.

    Raises:
        ValueError: the list is not written as a block of "- " lines.
    """
    before = yaml.safe_load(text)
    if "initialize" not in before:
        return text
    lines = "".join(f"- {step}\n" for step in PATH_STEPS)
    changed = re.sub(r"^initialize:[^\n]*\n", rf"\g<0>{lines}", text, count=1, flags=re.MULTILINE)
    try:
        found = yaml.safe_load(changed)
    except yaml.YAMLError:
        found = None
    if found != {**before, "initialize": [*PATH_STEPS, *before["initialize"]]}:
        raise ValueError(
            "Expected 'initialize:' with its steps as '- ' lines below it, got another layout. Write"
            " it so in the config."
        )
    return changed


def names_module(config: Any, module: str) -> Iterator[str]:
    """Targets and expressions of `config` that name `module`."""
    for key, value in strings(config):
        used = is_target_key(key) or value.startswith("$")
        if used and re.search(rf"(?<![\w.'\"/]){module}\b(?![\w'\"/])", value):
            yield value


def strings(config: Any, key: Any = "") -> Iterator[tuple[str, str]]:
    """Every text in `config` with the key it stands under (list items: the list's key)."""
    if isinstance(config, dict):
        for name, value in config.items():
            yield from strings(value, name)
    elif isinstance(config, list):
        for value in config:
            yield from strings(value, key)
    elif isinstance(config, str):
        yield str(key), config


def load_config(path: Path) -> Any:
    """Content of a YAML or JSON config, without running any of it."""
    return parse_config(path.read_text(encoding="utf-8"), path.name)


def parse_config(text: str, name: str) -> Any:
    """Content of the text of a config called `name`.

    Raises:
        ValueError: not valid YAML or JSON.
    """
    try:
        return json.loads(text) if name.endswith(".json") else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        line = str(error).splitlines()[0]
        raise ValueError(f"Expected valid YAML or JSON in '{name}', got: {line}. Repair it.") from (
            error
        )
