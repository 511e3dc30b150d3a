"""Active learning: which cases to annotate next, and why."""

from .clasp_entropy import ClaspEntropy
from .concept_coverage import ConceptCoverage
from .concept_disagreement import ConceptDisagreement
from .pool import Pool
from .random_foreground import RandomForeground
from .random_pick import RandomPick
from .records import ATTRIBUTE_NAMES, CaseRecord
from .strategy import Pick, Strategy
from .typical import Typical

STRATEGIES: dict[str, Strategy] = {
    strategy.name: strategy
    for strategy in (
        RandomPick(),
        RandomForeground(),
        Typical(),
        ClaspEntropy(),
        ConceptDisagreement(),
        ConceptCoverage(),
    )
}
BASELINES = ("random", "random_foreground")

__all__ = [
    "ATTRIBUTE_NAMES",
    "BASELINES",
    "STRATEGIES",
    "CaseRecord",
    "Pick",
    "Pool",
    "Strategy",
]
