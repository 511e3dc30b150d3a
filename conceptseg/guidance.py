"""From a user's prompt to what each label is asked, and what a guided mask may cover."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from .concepts import ATTRIBUTES, Concepts, ParsedPrompt, concepts_to_sentence, parse_prompt
from .concepts.descriptors import Descriptors, take_descriptors
from .concepts.orientation import third
from .concepts.places import photo_to_level, read_own_side, side_to_place
from .concepts.ranks import Rank, take_rank
from .parts import connected_parts, hold_an_object, keep_by_size, only_parts
from .placing import is_beside, is_centred_beside, keep_at

_NEARLY_ALL = 0.9  # of a mask; with less of it in its place, there is more to tell apart
_DOUBTFUL = 0.8  # presence under a prompt below it is remarked on; training names few wrong places


@dataclass(frozen=True)
class PromptPlan:
    """What a prompt asks of each label.

    Attributes:
        guided: False when there is no prompt (text-free).
        keywords: all keywords of the network.
        asked: those the prompt asks for.
        sentences: one per keyword; "" for a label not asked for, or text-free.
        laterality: patient side the masks of `sided` are restricted to (volumes), or None.
        sided: keywords that a side belongs to: of "left kidney and liver" the kidney alone.
        only_side: False keeps everything where nothing lies on that side ("left hippocampus": a volume
            may show no more than one side, and its middle then is not the patient's).
        level: third of the superior-inferior axis it is restricted to (volumes), or None.
        place: cell of the 3 x 3 grid it is restricted to (images), or None.
        common_place: cell in which several objects together should have their centre (images), or None;
            it restricts nothing.
        rank: which parts of each mask are kept by their size, or None for all of them.
        warnings: readable remarks.
        sized: `sentences` with each size in turn, where the prompt says none (images), else nothing.
    """

    guided: bool
    keywords: tuple[str, ...]
    asked: tuple[str, ...]
    sentences: list[str]
    laterality: str | None = None
    level: str | None = None
    place: str | None = None
    common_place: str | None = None
    rank: Rank | None = None
    warnings: tuple[str, ...] = ()
    only_side: bool = True
    sided: tuple[str, ...] = ()
    sized: tuple[list[str], ...] = ()

    @property
    def understood(self) -> list[str]:
        """The sentences with what restricts the masks beside them: "wound (the 2 largest)"."""
        understood = []
        for keyword, sentence in zip(self.keywords, self.sentences, strict=True):
            beside = [f"{_side_of(keyword, self)} side"] if _side_of(keyword, self) else []
            beside += [f"{self.level} level"] if self.level else []
            beside += [str(self.rank)] if self.rank else []
            restricted = f"{sentence} ({', '.join(beside)})" if sentence and beside else sentence
            understood.append(restricted)
        return understood


def plan_prompt(
    prompt: str | None,
    keywords: Sequence[str],
    volume: bool = False,
    strict: bool = True,
    descriptors: Descriptors | None = None,
) -> PromptPlan:
    """Read a prompt for a network with these keywords.

    A prompt that names no keyword speaks of all labels. For volumes, side and level are kept out of
    the sentence, which describes one slice, and restrict the mask instead; "left hippocampus" then
    means the patient's left one. In an image they are places: "on the left side" is "left". A prompt
    for no object ("no polyp") asks for no label. "The largest polyp" does not say how large it is: that is
    kept out of the sentence too, and the largest part of the mask is kept.

    Args:
        prompt: free text of the concept vocabulary; None: text-free.
        keywords: of the network's labels, in label order.
        volume: the image is a volume.
        strict: unknown words are an error; otherwise a warning that names them.
        descriptors: closed lists of what the network knows beside the attributes.

    Raises:
        ValueError: for an empty or over-long prompt, and with `strict` for words outside the
            vocabulary.
    """
    keywords = tuple(keywords)
    if prompt is None:
        return PromptPlan(False, keywords, keywords, [""] * len(keywords))
    if not prompt.strip():
        raise ValueError(
            f"expected a concept prompt such as 'small {keywords[0]}', got an empty one; leave the"
            " prompt out to segment text-free"
        )
    rest, described = take_descriptors(prompt, descriptors or {})
    rest, rank = take_rank(rest)
    parsed = parse_prompt(rest, keywords)
    remarks = [*parsed.warnings, *_refuse_unknown(parsed, prompt, keywords, strict)]
    asked = tuple(parsed.keywords) or keywords
    spoken = parsed.concepts or Concepts(keyword=asked[0])
    only_side = parsed.side is None or spoken.laterality is not None
    spoken, sided = read_own_side(spoken, parsed, asked, volume, remarks)
    spoken = photo_to_level(spoken) if volume else side_to_place(spoken, remarks)
    if spoken.number == 0:
        asked = ()
        remarks.append("the prompt says that there is none: the mask is empty.")
    place = None if volume else spoken.location
    several = spoken.number not in (None, 1) and rank is None  # "the largest of 2" is one
    ways = [spoken]
    if asked and not volume and spoken.size is None:
        ways += [spoken.model_copy(update={"size": size}) for size in ATTRIBUTES["size"]]
    sentences, *sized = (_sentences(way, keywords, asked, described) for way in ways)
    return PromptPlan(
        True,
        keywords,
        asked,
        sentences,
        spoken.laterality if volume else None,
        spoken.level if volume else None,
        None if several else place,
        place if several else None,
        rank,
        tuple(remarks),
        only_side,
        sided,
        tuple(sized),
    )


def _sentences(
    spoken: Concepts, keywords: Sequence[str], asked: Sequence[str], described: Mapping[str, str]
) -> list[str]:
    """What is said of each keyword, "" of those not asked for; side and level restrict instead."""
    sentences = []
    for keyword in keywords:
        changes = {"keyword": keyword, "laterality": None, "level": None}
        said = concepts_to_sentence(spoken.model_copy(update=changes), descriptors=described)
        sentences.append(said if keyword in asked else "")
    return sentences


def _refuse_unknown(
    parsed: ParsedPrompt, prompt: str, keywords: Sequence[str], strict: bool
) -> list[str]:
    """Raise ValueError for unknown words, or without `strict` a remark on them."""
    if not parsed.unknown_words:
        return []
    known = ", ".join(repr(k) for k in keywords)
    words = ", ".join(repr(w) for w in parsed.unknown_words)
    message = (
        f"expected words of the concept vocabulary and the classes {known}, got {words} in"
        f" {prompt!r}; reword the prompt."
    )
    if strict:
        raise ValueError(" ".join([message, *parsed.warnings]))
    return [message]


def restrict_to_prompt(
    probabilities: Tensor, plan: PromptPlan, directions: Sequence[str] | None = None
) -> Tensor:
    """Remove what the prompt excludes by name: labels not asked for, the other side, levels or places.

    A connected part of a mask belongs to the side or level in which its centre lies; for places of an image
    see `placing.keep_at`, which also draws what is likeliest in a place where the mask is empty.

    Args:
        probabilities: (K, *spatial).
        plan: of the prompt.
        directions: for volumes, the direction in which each index grows, such as
            ("right", "anterior", "superior").

    Returns:
        A new tensor (K, *spatial).
    """
    result = probabilities.clone()
    for i, keyword in enumerate(plan.keywords):
        if keyword not in plan.asked:
            result[i] = 0
        elif directions is not None and (_side_of(keyword, plan) or plan.level):
            result[i] = _keep_parts(result[i], plan, _side_of(keyword, plan), directions)
        elif plan.place is not None and result[i].ndim == 2:
            result[i] = keep_at(plan.place, result[i])
        if plan.rank is not None:
            result[i] = keep_by_size(result[i], plan.rank.smallest, plan.rank.count)
    return result


def mostly_kept(everywhere: Tensor, kept: Tensor) -> Tensor:
    """Whether a prompt leaves nearly all of each label's mask: (K,) bool, False for empty ones.

    Args:
        everywhere: (K, *spatial) probabilities under the prompt.
        kept: what `restrict_to_prompt` left of them.
    """
    before, after = ((p > 0.5).flatten(1) for p in (everywhere, kept))
    drawn = before.sum(dim=1)
    return (drawn > 0) & ((before & after).sum(dim=1) >= _NEARLY_ALL * drawn)


def _side_of(keyword: str, plan: PromptPlan) -> str | None:
    """The side that a keyword's mask is restricted to."""
    return plan.laterality if keyword in plan.sided else None


def remarks_on_fit(
    plan: PromptPlan, presence: Tensor, everywhere: Tensor, kept: Tensor
) -> tuple[str, ...]:
    """A remark for each label that a prompt asks for and that is hardly found as the prompt says it.

    Args:
        plan: of a prompt.
        presence: (K,) probability that each label is there as described.
        everywhere: (K, *spatial) probabilities under the prompt.
        kept: what `restrict_to_prompt` left of them.
    """
    doubtful, misplaced = [], []
    rows = zip(plan.keywords, presence.tolist(), everywhere, kept, strict=True)
    for keyword, found, before, after in rows:
        if keyword not in plan.asked:
            continue
        if found < _DOUBTFUL:
            said = f"{keyword!r} as described is present with probability {found:.2f}"
            doubtful.append(f"the prompt may not fit this image: {said}.")
        misplaced += _remarks_on_place(keyword, plan, before > 0.5, after > 0.5)
    return (*doubtful, *misplaced)


def _remarks_on_place(
    keyword: str, plan: PromptPlan, before: Tensor, after: Tensor
) -> Iterator[str]:
    """Remarks on one label, from its masks (*spatial) before and after it was restricted."""
    unfit = f"the prompt may not fit this image: {keyword!r} is found, but not"
    if before.any() and not after.any():
        yield f"{unfit} {_where(keyword, plan)}."
    if (after & ~before).any():
        said = f"hardly any {keyword!r} is found in the {plan.place}"
        yield f"{said}; what is likeliest there is drawn, check it."
    elif plan.place is not None and is_beside(plan.place, after):
        yield f"{unfit} in the {plan.place}; what lies beside it is kept."
    elif plan.common_place is not None and is_centred_beside(plan.common_place, after):
        yield f"{unfit} with its middle in the {plan.common_place}; all of it is kept."


def remarks_on_size(shape: Sequence[int], usual: int) -> tuple[str, ...]:
    """A remark when a volume of `shape` voxels is far wider than the `usual` voxels of slices in training."""
    if len(shape) == 2 or not usual or max(shape) <= 2 * usual:
        return ()
    return (
        f"expected a region of about {usual} voxels per axis at the network's spacing, got"
        f" {tuple(shape)}; crop the volume to the region of the structure",
    )


def _where(keyword: str, plan: PromptPlan) -> str:
    """Where a prompt looks for the objects of a class, in words."""
    side = f"on the {plan.laterality} side" if _side_of(keyword, plan) else ""
    level = f"at the {plan.level} level" if plan.level else ""
    return f"{side} {level}".strip() or f"in or beside the {plan.place}"


def _keep_parts(
    probability: Tensor, plan: PromptPlan, wanted: str | None, directions: Sequence[str]
) -> Tensor:
    """Probability (*spatial) of the connected parts on the wanted side, at the plan's level."""
    parts, centres = connected_parts(probability)
    on_side, at_level = np.zeros((2, len(centres) + 1), dtype=bool)
    for number, centre in enumerate(centres, start=1):
        place = dict(zip(directions, centre, strict=True))
        right, up = _along(place, "right", "left"), _along(place, "superior", "inferior")
        side = "right" if right >= 0.5 else "left"
        level = ("inferior", "middle", "superior")[third(up) + 1]
        on_side[number] = wanted in (None, side)
        at_level[number] = plan.level in (None, level)
    if not plan.only_side and not hold_an_object(parts, on_side):
        on_side[:] = True
    keep = on_side & at_level
    keep[0] = True  # the soft border around the mask, needed when it is interpolated
    return only_parts(probability, parts, keep)


def _along(place: dict[str, float], direction: str, opposite: str) -> float:
    """Relative position 0..1 towards `direction`, whichever way the index grows."""
    return place[direction] if direction in place else 1 - place[opposite]
