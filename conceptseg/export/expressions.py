"""What a bundle config may call: targets and `$` expressions checked against an allow-list, unrun.

MONAI instantiates any `_target_` and evaluates any `$` expression, so a config is a program. Here it is
read only. A name is allowed when it resolves to a class or function that an allowed module defines
itself; that stops detours such as `monai.data.utils.os.system`. The list closes the known ways from a
config to a shell; it is no sandbox: data sent by people you do not know belongs on a machine of its own.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

from monai.bundle.config_item import ComponentLocator

from .renaming import EXPORTED, PACKAGE, PATH_STEPS, is_target_key, strings

_MONAI = "data handlers engines inferers losses metrics networks optimizers transforms visualize"
_TORCH = "nn optim utils.data utils.tensorboard"
ALLOWED_PREFIXES = (
    "ignite",
    *(f"monai.{name}" for name in _MONAI.split()),
    *(f"torch.{name}" for name in _TORCH.split()),
)
_NAMES = (
    "monai.__version__ monai.utils.set_determinism monai.utils.first monai.utils.ensure_tuple"
    " torch.device torch.manual_seed torch.as_tensor torch.tensor torch.zeros torch.ones torch.cat"
    " torch.stack torch.softmax torch.sigmoid torch.argmax torch.float torch.float16 torch.float32"
    " torch.bfloat16 torch.int64 torch.long torch.uint8 torch.bool torch.Tensor torch.no_grad"
    " torch.cuda.is_available torch.cuda.device_count torch.cuda.set_device"
    " torch.cuda.current_device torch.backends.mps.is_available torch.distributed.is_available"
    " torch.distributed.is_initialized torch.distributed.get_rank torch.distributed.get_world_size"
    " torch.distributed.init_process_group torch.distributed.destroy_process_group"
    " torch.distributed.barrier numpy.pi numpy.inf numpy.nan numpy.array numpy.float32 numpy.uint8"
    " numpy.int16 numpy.arange numpy.prod numpy.log numpy.sqrt math.ceil math.floor math.sqrt math.pi"
    " os.environ os.cpu_count os.getcwd os.path.join os.path.basename os.path.dirname os.path.exists"
    " os.path.abspath glob.glob pathlib.Path"
)
ALLOWED_NAMES = frozenset(_NAMES.split())
# They lie in allowed modules, but read pickles, fetch code or run what they are given.
_REFUSED = (
    "PersistentDataset CacheNTransDataset LMDBDataset GDSDataset NumpyReader TorchScriptInferer"
    " optional_import load load_state_dict load_state_dict_from_url download_url extractall"
    " download_and_extract convert_to_torchscript convert_to_trt trt_compile pickle_operations"
)
REFUSED_LAST = frozenset(_REFUSED.split())
_PLAIN_BUILTINS = (
    "abs all any bool dict enumerate float int isinstance len list max min range round set slice"
    " sorted str sum tuple zip"
)
_BUILTINS = frozenset(_PLAIN_BUILTINS.split())
_GLOBALS = {"monai": "monai", "torch": "torch", "np": "numpy", "numpy": "numpy"}  # MONAI's own
_MODULES = "os glob math pathlib json re monai torch numpy ignite"
_IMPORTABLE = frozenset(_MODULES.split())
_INNER_ATTRIBUTE = re.compile(r"__|^(f|gi|cr|ag|tb)_|^func_|^mro$")
_REFERENCE = re.compile(r"@(?:\w+)?(?:(?:#|::)\w+)*")
_REFERENCE_NAME = "reference_"
_FILE_MACRO = re.compile(r"^[%@].*\.(json|ya?ml)", re.IGNORECASE)


class ConfigAudit:
    """Finds what the configs of one bundle call that is not allowed.

    Args:
        allow: further module prefixes to trust.
        aliases: names that the configs' own import expressions bind, from `import_aliases`.
        own_code: the bundle's "scripts" are this package's files.
    """

    def __init__(
        self,
        allow: Iterable[str] = (),
        aliases: dict[str, str] | None = None,
        own_code: bool = False,
    ) -> None:
        self.allow = tuple(allow)
        self.own_code = own_code
        self.aliases = {**_GLOBALS, **(aliases or {})}
        self._locator = ComponentLocator()

    def problems(self, config: Any) -> Iterator[str]:
        """What is not allowed in a config, one readable line each."""
        for key, value in strings(config):
            if is_target_key(key):
                yield from self._target(value)
            elif value.startswith("$") and value not in PATH_STEPS:
                yield from self._expression(value[1:])
            elif _FILE_MACRO.match(value):
                yield f"{value!r} reads another file into the config"
            elif key.endswith("_mode_") and value == "debug":
                yield "_mode_ debug stops in a debugger"

    def _target(self, name: str) -> Iterator[str]:
        """A `_target_`: a component of MONAI by its short name, or a dotted name."""
        full = name
        if re.fullmatch(r"\w+", name):
            found = self._locator.get_component_module_name(name)
            if not found:
                yield f"_target_ {name!r} is no component of MONAI"
                return
            full = f"{found if isinstance(found, str) else found[0]}.{name}"
        elif not re.fullmatch(r"\w+(\.\w+)+", name):
            yield f"_target_ {name!r} is no plain name"
            return
        if not self._is_allowed(full):
            yield f"_target_ {name!r} is not on the allow-list"

    def _is_allowed(self, name: str) -> bool:
        """Say whether a dotted name is what an allowed module itself defines."""
        top = name.partition(".")[0]
        if top == PACKAGE or (top == EXPORTED and self.own_code):
            return _is_own(f"{PACKAGE}.{name.partition('.')[2]}")
        if name.startswith(tuple(f"{prefix}." for prefix in self.allow)):
            parts = name.split(".")  # unseen code: what it imported itself stays out of reach
            hidden = any(_INNER_ATTRIBUTE.search(part) for part in parts)
            return not hidden and not set(parts[1:]) & sys.stdlib_module_names
        if name in ALLOWED_NAMES:
            return True
        within = tuple(f"{prefix}." for prefix in ALLOWED_PREFIXES)
        if name.rpartition(".")[2] in REFUSED_LAST or not name.startswith(within):
            return False
        found = _resolve(name)
        home = f"{getattr(found, '__module__', '')}."
        is_code = inspect.isclass(found) or inspect.isroutine(found)
        return is_code and home.startswith((*within, "monai.utils."))

    def _expression(self, text: str) -> Iterator[str]:
        """A `$` expression or import."""
        try:
            tree = ast.parse(_REFERENCE.sub(_REFERENCE_NAME, text).strip())
        except SyntaxError:
            yield f"expression {text!r} cannot be parsed"
            return
        body = tree.body
        if len(body) == 1 and isinstance(body[0], (ast.Import, ast.ImportFrom)):
            yield from self._import(body[0], text)
        elif len(body) == 1 and isinstance(body[0], ast.Expr):
            local = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
            names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
            local |= {node.id for node in names if isinstance(node.ctx, ast.Store)}
            for problem in self._walk(body[0].value, local):
                yield f"{problem} in expression {text!r}"
        else:
            yield f"expression {text!r} is no single expression"

    def _import(self, node: ast.Import | ast.ImportFrom, text: str) -> Iterator[str]:
        """An import expression."""
        is_from = isinstance(node, ast.ImportFrom)
        for module in [node.module or "."] if is_from else [alias.name for alias in node.names]:
            top = module.partition(".")[0]
            if top not in _IMPORTABLE and top not in self.allow:
                yield f"import of {module!r}"
        for name in [f"{node.module}.{alias.name}" for alias in node.names] if is_from else []:
            if not self._is_allowed(name) and not self._is_module(name):
                yield f"import of {name!r} in {text!r}"

    def _is_module(self, name: str) -> bool:
        """Say whether a dotted name is a module; what is called in it is checked where it is called."""
        top = name.partition(".")[0]
        known = top in ("monai", "torch", "ignite")
        return top in self.allow or (known and isinstance(_resolve(name), ModuleType))

    def _walk(self, node: ast.AST, local: set[str]) -> Iterator[str]:
        """Names, attributes and forbidden syntax below a node."""
        chain = _dotted(node)
        if chain is not None:
            yield from self._chain(chain, local)
            return
        if isinstance(node, (ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom)):
            yield f"{type(node).__name__} is not allowed"
        if isinstance(node, ast.Attribute):
            yield from _attributes([node.attr])
        for child in ast.iter_child_nodes(node):
            yield from self._walk(child, local)

    def _chain(self, chain: list[str], local: set[str]) -> Iterator[str]:
        """A dotted name: of a module, or attributes of a local name or reference."""
        first, rest = chain[0], chain[1:]
        if first in local or first == _REFERENCE_NAME or (first in _BUILTINS and not rest):
            yield from _attributes(rest)
            return
        parts = [*self.aliases.get(first, first).split("."), *rest]
        for stop in range(len(parts), 0, -1):  # os.environ.get: up to a value, then attributes
            if self._is_allowed(".".join(parts[:stop])):
                yield from _attributes(parts[stop:])
                return
        yield f"{'.'.join(parts)!r} is not on the allow-list"


def import_aliases(configs: Iterable[Any]) -> dict[str, str]:
    """Name -> dotted name that the import expressions of the configs bind.

    Raises:
        ValueError: one name is bound to two things, so what it means depends on the order.
    """
    aliases: dict[str, str] = {}
    for config in configs:
        for _, value in strings(config):
            match = re.match(r"\$\s*((?:import|from)\s.+)$", value)
            try:
                node = ast.parse(match.group(1)).body[0] if match else None
            except SyntaxError:
                continue
            for alias in node.names if node else ():
                prefix = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
                name, full = alias.asname or alias.name, prefix + alias.name
                if {**_GLOBALS, **aliases}.get(name, full) != full:
                    raise ValueError(f"Expected one meaning of '{name}' in all configs, got two.")
                aliases[name] = full
    return aliases


def _dotted(node: ast.AST) -> list[str] | None:
    """Parts of a dotted name, None for anything else."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        head = _dotted(node.value)
        return None if head is None else [*head, node.attr]
    return None


def _is_own(name: str) -> bool:
    """Say whether a dotted name is a class or function of this package that writes no free text."""
    found = _resolve(name)
    home = f"{getattr(found, '__module__', '')}."
    writes = home.startswith(tuple(f"{PACKAGE}.{part}." for part in ("atomic", "cli", "export")))
    is_code = inspect.isclass(found) or inspect.isfunction(found)
    is_writer = writes or name.rpartition(".")[2].startswith("write_")
    return is_code and home.startswith(f"{PACKAGE}.") and not is_writer


def _attributes(names: Iterable[str]) -> Iterator[str]:
    """Refuse attributes through which Python's inner objects are reached."""
    for name in names:
        if _INNER_ATTRIBUTE.search(name):
            yield f"attribute {name!r}"


def _resolve(name: str) -> Any:
    """The object of a dotted name in an installed library; None if there is none."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:length]))
        except ImportError:
            continue
        for part in parts[length:]:
            found = getattr(found, part, None)
        return found
    return None
