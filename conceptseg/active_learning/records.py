"""What is known of one case under one version of a model: the input of every strategy."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, fields

import numpy as np

from ..concepts import ATTRIBUTES

ATTRIBUTE_NAMES = tuple(ATTRIBUTES)
UNKNOWN = -1  # index of a concept value that is not known
_DTYPES = {"concepts": "<i2"}  # all else is stored in half precision: 3 digits are enough to rank


@dataclass
class CaseRecord:
    """Scores and features of one case for K labels and A attributes.

    Attributes:
        name: of the case, unique in its pool.
        encoder: (F,) feature of the image encoder, independent of any label.
        student: (K, E) student embeddings.
        entropy: (K,) size-normalised entropy of the text-free mask, 0 (sure) upwards.
        foreground: (K,) share of the image that the text-free mask covers, 0..1.
        concepts: (K, A) index in `ATTRIBUTES` of each attribute's value in the predicted mask, -1 where
            unknown.
        disagreement: (K,) distance 0..1 between the text-free mask and those under the read-out
            concepts; None when it was not computed.
    """

    name: str
    encoder: np.ndarray
    student: np.ndarray
    entropy: np.ndarray
    foreground: np.ndarray
    concepts: np.ndarray
    disagreement: np.ndarray | None = None

    @classmethod
    def blank(cls, name: str, num_labels: int) -> CaseRecord:
        """A record that says nothing, for strategies that look at no score."""
        zeros = np.zeros(num_labels, dtype=np.float32)
        return cls(
            name=name,
            encoder=np.zeros(1, dtype=np.float32),
            student=np.zeros((num_labels, 1), dtype=np.float32),
            entropy=zeros,
            foreground=zeros,
            concepts=np.full((num_labels, len(ATTRIBUTE_NAMES)), UNKNOWN),
        )

    def to_json(self) -> str:
        """One line of JSON; arrays in half precision."""
        content: dict = {"name": self.name}
        for field in fields(self)[1:]:
            value = getattr(self, field.name)
            if value is not None:
                dtype = _DTYPES.get(field.name, "<f2")
                packed = base64.b64encode(np.ascontiguousarray(value, dtype=dtype).tobytes())
                content[field.name] = [list(np.shape(value)), packed.decode("ascii")]
        return json.dumps(content)

    @classmethod
    def from_json(cls, line: str) -> CaseRecord:
        """The record of a line that `to_json` made.

        Raises:
            ValueError: the line is damaged.
        """
        try:
            content = json.loads(line)
            arrays = {
                name: _unpack(*content[name], _DTYPES.get(name, "<f2"))
                for name in (field.name for field in fields(cls)[1:])
                if name in content
            }
            return cls(name=content["name"], **arrays)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"Expected a line of a score file, got {line[:60]!r}; delete the line"
            ) from error


def _unpack(shape: list[int], packed: str, dtype: str) -> np.ndarray:
    """Array of a shape from its base64 text, in float32 or int64."""
    values = np.frombuffer(base64.b64decode(packed), dtype=dtype).reshape(shape)
    return values.astype(np.int64 if dtype == "<i2" else np.float32)
