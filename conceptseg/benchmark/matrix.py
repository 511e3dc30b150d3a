"""The benchmark's matrix: contestants x data sets x fractions x seeds x budgets, read from YAML."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .conditions import TEXT_FREE, check_conditions

BUDGET_KINDS = ("images", "cpu_seconds")
CHECKPOINTS = ("best", "last")


@dataclass(frozen=True)
class Contestant:
    """One network with its recipe.

    Attributes:
        name: in tables and folders.
        title: for readers.
        overlays: configs of the bundle laid over its train.yaml, such as "baseline".
        settings: config id -> value, over the overlays. Ids that begin with "prompt#" address the
            transform that makes the prompts (`ConceptPromptd`).
        plain: the network takes no text, so training measures no concepts.
        ours: judged against the best of the others.
        conditions: under which it is tested.
        condition: the one its row in the main table shows.
        learning_rates: grid from which validation chooses; empty: the config's rate.
        checkpoint: "best" on the selection cases, or "last" for networks not trained for text-free use,
            which is what validation judges.
        keep_weights: keep the best checkpoint, for the prompt analyses.
    """

    name: str
    title: str = ""
    overlays: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    plain: bool = False
    ours: bool = False
    conditions: tuple[str, ...] = (TEXT_FREE,)
    condition: str = TEXT_FREE
    learning_rates: tuple[float, ...] = ()
    checkpoint: str = "best"
    keep_weights: bool = False

    def __post_init__(self) -> None:
        """Check conditions and checkpoint."""
        check_conditions(self.conditions)
        if self.checkpoint not in CHECKPOINTS:
            raise ValueError(
                f"expected a checkpoint out of {CHECKPOINTS} for {self.name!r}, got"
                f" {self.checkpoint!r}"
            )
        if self.condition not in self.conditions:
            raise ValueError(
                f"expected the main condition of {self.name!r} among {list(self.conditions)},"
                f" got {self.condition!r}; add it to its conditions"
            )

    def trial(self, name: str, overrides: Mapping[str, Any]) -> Contestant:
        """The same contestant with other settings, recorded under a name of its own."""
        settings = {**self.settings, **overrides}
        name = re.sub(r"[^\w.@=+-]+", "_", f"{self.name}@{name}")
        return dataclasses.replace(self, name=name, title=name, settings=settings)


@dataclass(frozen=True)
class DataSet:
    """One data set and the bundle whose configs train on it.

    Attributes:
        name: in tables and folders.
        bundle: folder name of the bundle.
        folder: below the data folder.
        split: see `splits.make_split`.
        images_per_step: config ids whose product is the number of images in an optimiser step; the
            first counts cases.
        budgets: kind -> amount: "images" seen, or "cpu_seconds" of training.
        validations: checkpoints judged in a run.
        folds: of a split with folds; (None,) otherwise.
        settings: config id -> value, for every contestant.
    """

    name: str
    bundle: str
    folder: str
    split: Mapping[str, Any]
    images_per_step: tuple[str, ...]
    budgets: Mapping[str, float] = field(default_factory=dict)
    validations: int = 8
    folds: tuple[int | None, ...] = (None,)
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunSpec:
    """One run; its `key` is its folder and its name in the records."""

    data_set: str
    contestant: str
    fraction: float
    seed: int
    budget: str
    amount: float
    fold: int | None = None

    @property
    def key(self) -> str:
        """data set / contestant / budget, fraction, fold, seed."""
        fold = "" if self.fold is None else f"_fold{self.fold}"
        share = f"{100 * self.fraction:g}pct"
        return (
            f"{self.data_set}/{self.contestant}/"
            f"{self.budget}{self.amount:g}_{share}{fold}_seed{self.seed}"
        )


@dataclass(frozen=True)
class Matrix:
    """What is compared.

    Attributes:
        contestants: by name, in the order in which they run.
        data_sets: by name.
        fractions: of the training cases, nested.
        seeds: of the subset, the initial weights and the augmentation.
        budgets: kinds of budget, out of `BUDGET_KINDS`.
        threads: of the CPU, for training and inference; 0 leaves PyTorch's choice.
    """

    contestants: Mapping[str, Contestant]
    data_sets: Mapping[str, DataSet]
    fractions: tuple[float, ...] = (1.0,)
    seeds: tuple[int, ...] = (0,)
    budgets: tuple[str, ...] = ("images",)
    threads: int = 1

    def runs(self) -> Iterator[RunSpec]:
        """Every run, so that whole comparisons finish early: seed by seed, fraction by fraction."""
        for kind in self.budgets:
            for seed in self.seeds:
                for data_set in self.data_sets.values():
                    for fraction in self.fractions:
                        for fold in data_set.folds if kind in data_set.budgets else ():
                            for name in self.contestants:
                                yield RunSpec(
                                    data_set.name,
                                    name,
                                    fraction,
                                    seed,
                                    kind,
                                    data_set.budgets[kind],
                                    fold,
                                )

    def narrowed(
        self,
        contestants: Sequence[str] | None = None,
        data_sets: Sequence[str] | None = None,
        **other: Any,
    ) -> Matrix:
        """Only some contestants and data sets; `other` replaces fractions, seeds, budgets.

        Raises:
            ValueError: for a name that the matrix does not hold.
        """
        changes = {name: tuple(value) for name, value in other.items() if value is not None}
        for name, wanted in (("contestants", contestants), ("data_sets", data_sets)):
            if wanted is not None:
                held = getattr(self, name)
                changes[name] = {key: _pick(held, key, name) for key in wanted}
        return dataclasses.replace(self, **changes)


def _pick(held: Mapping[str, Any], key: str, what: str) -> Any:
    """`held[key]`, or ValueError that names what there is."""
    if key not in held:
        raise ValueError(f"expected {what} out of {', '.join(held)}, got {key!r}; see --list")
    return held[key]


def read_matrix(path: str | os.PathLike) -> Matrix:
    """Read a matrix file.

    Its key "include" names a catalogue beside it, with "contestants" and "data_sets" by name. The
    matrix lists the contestants by name and gives, for each data set, what differs from the
    catalogue ("settings" are joined).

    Raises:
        FileNotFoundError: no such file.
        ValueError: a name the catalogue does not hold, an unknown key or kind of budget.
    """
    content = _read_yaml(Path(path))
    catalogue = _read_yaml(Path(path).parent / content.pop("include"))
    names, stanzas = content.pop("contestants"), content.pop("data_sets")
    contestants = {
        n: _contestant(n, _pick(catalogue["contestants"], n, "contestants")) for n in names
    }
    data_sets = {
        n: _data_set(n, catalogue["data_sets"], changes or {}) for n, changes in stanzas.items()
    }
    lists = {
        key: tuple(content.pop(key)) for key in ("fractions", "seeds", "budgets") if key in content
    }
    unknown = set(lists.get("budgets", ())) - set(BUDGET_KINDS)
    if unknown:
        raise ValueError(f"expected budgets out of {BUDGET_KINDS}, got {sorted(unknown)}")
    return _make(
        Matrix, str(path), {"contestants": contestants, "data_sets": data_sets, **lists, **content}
    )


def _read_yaml(path: Path) -> dict[str, Any]:
    """Mapping in a YAML file."""
    if not path.is_file():
        raise FileNotFoundError(
            f"expected a YAML file, got '{path}', which is none; check the path"
        )
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"expected a mapping in '{path}', got {type(content).__name__}")
    return content


def _contestant(name: str, stanza: Mapping[str, Any]) -> Contestant:
    """A contestant of the catalogue."""
    lists = ("overlays", "conditions", "learning_rates")
    values = {k: tuple(v) if k in lists else v for k, v in stanza.items()}
    return _make(Contestant, name, {"name": name, "title": name, **values})


def _data_set(name: str, catalogue: Mapping[str, Any], changes: Mapping[str, Any]) -> DataSet:
    """A data set of the catalogue with the matrix's changes."""
    stanza = dict(_pick(catalogue, name, "data_sets"))
    settings = {**stanza.get("settings", {}), **changes.get("settings", {})}
    values = {**stanza, **changes, "settings": settings}
    for key in ("images_per_step", "folds"):
        if key in values:
            values[key] = tuple(values[key])
    return _make(DataSet, name, {"name": name, **values})


def _make(kind: type, where: str, values: Mapping[str, Any]) -> Any:
    """A dataclass from a mapping; ValueError for keys it does not have."""
    known = {f.name for f in dataclasses.fields(kind)}
    if set(values) - known:
        raise ValueError(
            f"expected keys out of {sorted(known)} for {where!r}, got {sorted(set(values) - known)}"
        )
    return kind(**values)
