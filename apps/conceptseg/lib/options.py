"""What a client asks of an inference request, checked: options arrive as text, numbers or lists."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from conceptseg.guidance import PromptPlan, plan_prompt

from .bundle import Bundle
from .problems import bad_request

ALL_LABELS = "all"
_TRUE = {"true", "1", "yes", "on"}
_FALSE = {"false", "0", "no", "off", ""}


@dataclass(frozen=True)
class Options:
    """Checked options of the automatic model.

    Attributes:
        prompt: text to decode with; None: text-free.
        source: which option gave it: "concept", "label_prompt" or "none".
        strength: 0 (student alone) to 1 (prompt alone).
        presence_threshold: probability of a label's presence below which its mask is emptied, 0 to 1.
        labels: names to return; the others stay empty.
        roi: first and last voxel (both inside) along each axis of the file's grid, or None.
        uncertainty: compute it.
        notes: readable remarks, such as which of two options won.
        plan: what the prompt asks of each label; None without a prompt.
    """

    prompt: str | None
    source: str
    strength: float
    presence_threshold: float
    labels: tuple[str, ...]
    roi: tuple[int, ...] | None = None
    uncertainty: bool = False
    notes: list[str] = field(default_factory=list)
    plan: PromptPlan | None = None

    @property
    def only_restricts(self) -> bool:
        """True when the prompt names classes, a side or a level, and says nothing of the object itself.

        Such a prompt restricts the text-free mask. To the network a sentence without any concept
        means an absent object.
        """
        if self.plan is None:
            return False
        said = zip(self.plan.sentences, self.plan.keywords, strict=True)
        return self.strength == 0 or all(s in ("", keyword) for s, keyword in said)


def default_config(bundle: Bundle) -> dict[str, Any]:
    """The options both clients show: text, numbers, check boxes and lists of text."""
    return {
        "concept": str(bundle.display.get("concept", "")),
        "prompt_strength": float(bundle.display.get("prompt_strength", 1.0)),
        "presence_threshold": bundle.presence_threshold,
        "label": [ALL_LABELS, *bundle.keywords],
        "roi": "",
        "uncertainty": False,
    }


def read_options(request: Mapping[str, Any], bundle: Bundle) -> Options:
    """Check the options of a request; missing ones take their defaults.

    The text in `concept` wins over `label_prompt`, which OHIF may still hold from its class tab.

    Raises:
        HTTPException: 400 for a wrong type, value or word.
    """
    notes: list[str] = []
    text = first_of(request.get("concept", ""))
    if not isinstance(text, str):
        raise bad_request(f"Expected 'concept' as text, got {text!r}; write it in words.")
    classes = read_label_prompt(request.get("label_prompt"), bundle)
    prompt, source = text.strip() or None, "concept"
    if prompt is None:
        prompt, source = (" and ".join(classes), "label_prompt") if classes else (None, "none")
    elif classes:
        notes.append(f"concept {prompt!r} is used, label_prompt {list(classes)} is not.")
    labels, plan = read_label(request.get("label", ALL_LABELS), bundle), None
    if prompt is not None:
        plan = check_prompt(prompt, bundle)
        wanted = tuple(name for name in plan.asked if name in labels)
        if plan.asked and not wanted:
            notes.append(
                f"the prompt asks for {', '.join(plan.asked)}; the label option is not used."
            )
        labels = wanted or plan.asked
        if source == "label_prompt":
            labels = tuple(classes)
    return Options(
        prompt,
        source,
        read_strength(request.get("prompt_strength", 1.0)),
        _read_share(
            "presence_threshold",
            request.get("presence_threshold", bundle.presence_threshold),
            "0 never empties a mask",
        ),
        labels,
        read_roi(request.get("roi"), bundle.dimension),
        read_flag("uncertainty", request.get("uncertainty", False)),
        notes,
        plan,
    )


def first_of(value: Any) -> Any:
    """The first entry of a list: OHIF sends the whole list of a choice nobody touched."""
    if isinstance(value, (list, tuple)):
        return value[0] if value else ""
    return value


def check_prompt(prompt: str, bundle: Bundle) -> PromptPlan:
    """The plan of a prompt; error 400 with suggestions for words outside the vocabulary."""
    try:
        return plan_prompt(
            prompt, bundle.keywords, bundle.dimension == 3, descriptors=bundle.descriptors
        )
    except ValueError as error:
        raise bad_request(str(error)) from error


def read_strength(value: Any) -> float:
    """`prompt_strength` in 0..1 from a number or its text."""
    return _read_share("prompt_strength", value, "1 follows the prompt alone")


def _read_share(name: str, value: Any, meaning: str) -> float:
    """A number in 0..1 from itself or its text; `meaning` tells what a value does."""
    try:
        share = float(first_of(value))
    except (TypeError, ValueError):
        share = math.nan
    if not 0 <= share <= 1:
        raise bad_request(f"Expected '{name}' as a number from 0 to 1, got {value!r}; {meaning}.")
    return share


def read_flag(name: str, value: Any) -> bool:
    """A check box from a boolean, number or text."""
    text = str(first_of(value)).strip().lower()
    if text in _TRUE | _FALSE:
        return text in _TRUE
    raise bad_request(f"Expected '{name}' as true or false, got {value!r}; tick or clear it.")


def read_label(value: Any, bundle: Bundle) -> tuple[str, ...]:
    """Label names of the `label` option: one, several or "all"."""
    if isinstance(value, (list, tuple)) and ALL_LABELS in value:
        return bundle.keywords
    names = value if isinstance(value, (list, tuple)) else [value]
    labels = []
    for name in names:
        if name in ("", None, ALL_LABELS):
            return bundle.keywords
        labels.append(_label_name(name, bundle, "label"))
    return tuple(dict.fromkeys(labels)) or bundle.keywords


def read_label_prompt(value: Any, bundle: Bundle) -> tuple[str, ...]:
    """Label names of OHIF's `label_prompt`: values (or names), () where there is none."""
    if value in (None, "", []):
        return ()
    values = value if isinstance(value, (list, tuple)) else [value]
    return tuple(dict.fromkeys(_label_name(v, bundle, "label_prompt") for v in values))


def _label_name(value: Any, bundle: Bundle, option: str) -> str:
    """A label's name from its name or value."""
    text = str(value).strip()
    by_name = {name.lower(): name for name in bundle.keywords}
    if text.lower() in by_name:
        return by_name[text.lower()]
    if text.isdigit() and 1 <= int(text) <= len(bundle.keywords):
        return bundle.keywords[int(text) - 1]
    known = ", ".join(f"{v} ({name})" for name, v in bundle.labels.items())
    raise bad_request(f"Expected '{option}' out of {known}, got {value!r}; choose one of these.")


def read_roi(value: Any, dimension: int) -> tuple[int, ...] | None:
    """`roi` as whole numbers from "x0,x1,y0,y1,z0,z1" (photographs: "x0,x1,y0,y1") or a list."""
    if value is None or value == "" or value == []:
        return None
    parts = value.replace(";", ",").split(",") if isinstance(value, str) else value
    try:
        numbers = [round(float(part)) for part in parts]
    except (TypeError, ValueError, OverflowError):
        numbers = []
    if dimension == 2 and len(numbers) == 6:
        numbers = numbers[:4]  # Slicer shows a photograph as a volume of one slice
    if len(numbers) != 2 * dimension:
        form = "x0,x1,y0,y1,z0,z1" if dimension == 3 else "x0,x1,y0,y1"
        raise bad_request(
            f"Expected 'roi' as {2 * dimension} numbers {form} (voxels), got {value!r}; leave it"
            " empty for the whole image."
        )
    return tuple(numbers)


def roi_slices(roi: Sequence[int], shape: Sequence[int]) -> tuple[slice, ...]:
    """Slices of a box, cut at the image's border; error 400 when nothing of it lies inside."""
    slices = []
    for axis, size in enumerate(shape):
        low, high = sorted(roi[2 * axis : 2 * axis + 2])
        if high < 0 or low >= size:
            raise bad_request(
                f"Expected 'roi' inside the image of {tuple(shape)} voxels, got {low}..{high}"
                f" along axis {axis}; move the box."
            )
        slices.append(slice(max(low, 0), min(high, size - 1) + 1))
    return tuple(slices)
