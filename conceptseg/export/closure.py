"""Which modules of the package a bundle needs: those its configs name, and what these import."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .renaming import PACKAGE, is_target_key, strings

PACKAGE_DIR = Path(__file__).resolve().parents[1]


def config_modules(configs: Iterable[Any], package_dir: Path = PACKAGE_DIR) -> set[str]:
    """Dotted modules (without the package's name) that the configs name in targets and expressions.

    Raises:
        ValueError: a config names a module that the package does not have.
    """
    modules = set()
    for config in configs:
        for key, value in strings(config):
            if not is_target_key(key) and not value.startswith("$"):
                continue
            for name in re.findall(rf"(?<![\w.]){PACKAGE}\.([\w.]+)", value):
                modules.add(_module_of(name, package_dir))
    return modules


def _module_of(name: str, package_dir: Path) -> str:
    """The module part of "module.Class"."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        if _file_of(".".join(parts[:length]), package_dir):
            return ".".join(parts[:length])
    raise ValueError(
        f"Expected a module of {PACKAGE} in the config, got '{PACKAGE}.{name}'. Correct the target."
    )


def _file_of(module: str, package_dir: Path) -> Path | None:
    """Source file of a dotted module below the package; "" is the package itself."""
    base = package_dir.joinpath(*module.split(".")) if module else package_dir
    for file in (base.with_suffix(".py"), base / "__init__.py"):
        if file.is_file():
            return file
    return None


def needed_files(modules: Iterable[str], package_dir: Path = PACKAGE_DIR) -> list[Path]:
    """Source files of the modules and everything they import from the package, sorted.

    Raises:
        ValueError: a module imports from the package inside a function. MONAI Label takes the
            bundle off the path after loading it, so such an import could find another bundle's code.
    """
    todo, done = ["", *modules], {}
    while todo:
        module = todo.pop()
        if module in done:
            continue
        file = _file_of(module, package_dir)
        done[module] = file
        todo += list(_parents(module))
        todo += list(_imports(file, module, package_dir))
    return sorted(set(done.values()))


def _parents(module: str) -> Iterator[str]:
    """Packages around a module."""
    while "." in module:
        module = module.rpartition(".")[0]
        yield module


def _imports(file: Path, module: str, package_dir: Path) -> Iterator[str]:
    """Modules of the package that `file` imports."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    top = {id(node) for node in tree.body}
    package = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        if id(node) not in top:
            raise ValueError(
                f"Expected imports from the package at the top of '{file.name}', got one in line"
                f" {node.lineno}. Move it up."
            )
        base = [*package[: len(package) - node.level + 1], *filter(None, [node.module])]
        yield ".".join(part for part in base if part)
        for alias in node.names:
            name = ".".join([part for part in base if part] + [alias.name])
            if _file_of(name, package_dir):
                yield name


def third_party(files: Iterable[Path], known: Iterable[str]) -> set[str]:
    """Top-level modules that the files need, without the standard library's and `known`.

    What is imported inside `try` is optional: the file says what to do without it.
    """
    found = set()
    for file in files:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        tries = [node for node in ast.walk(tree) if isinstance(node, ast.Try)]
        optional = {inner for node in tries for part in node.body for inner in ast.walk(part)}
        for node in ast.walk(tree):
            if node in optional:
                continue
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - set(known)
