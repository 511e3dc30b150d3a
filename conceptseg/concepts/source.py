"""The interface of everything that can say what is seen in a mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from .schema import Concepts


@runtime_checkable
class ConceptSource(Protocol):
    """Says the concepts of one class in one image: by measuring, or by asking a model."""

    def __call__(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        keyword: str,
        axes: Sequence[str],
        spacing: Sequence[float] | None = None,
    ) -> Concepts:
        """Describe the objects of one class.

        Args:
            image: (C, *spatial), 2 or 3 spatial axes.
            mask: (*spatial) bool, True in the objects.
            keyword: name of the class.
            axes: for each spatial axis the direction in which its index grows, such as
                ("right", "bottom") or ("right", "anterior", "superior").
            spacing: mm per pixel along each axis; None where unknown.

        Returns:
            The concepts; attributes that cannot be told are None.
        """
