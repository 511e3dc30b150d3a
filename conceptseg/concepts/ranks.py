"""Which of several objects a prompt means by their size: "the largest wound"."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .normalizing import normalize
from .wording import EXCEPTIONS, NEGATIONS, NUMBER_WORDS

_SMALLEST = {
    **dict.fromkeys(("largest", "biggest", "larger", "bigger"), False),
    **dict.fromkeys(("smallest", "tiniest", "smaller"), True),
}
_COUNT = rf"(\d+|{'|'.join(sorted(NUMBER_WORDS))})"
_OTHERWISE = "than|diameter|axis|dimension|extent|size|area|part|portion|side"  # not of objects
_RANK = re.compile(
    rf"\b(?:{_COUNT} )?({'|'.join(_SMALLEST)})\b(?! (?:{_OTHERWISE})\b)(?: {_COUNT}\b)?"
)


@dataclass(frozen=True)
class Rank:
    """The largest or the smallest objects.

    Attributes:
        smallest: False for the largest.
        count: how many are meant, at least 1.
    """

    smallest: bool
    count: int = 1

    def __str__(self) -> str:
        """Such as "the largest" or "the 2 smallest"."""
        word = "smallest" if self.smallest else "largest"
        return f"the {word}" if self.count == 1 else f"the {self.count} {word}"


def take_rank(prompt: str) -> tuple[str, Rank | None]:
    """Take "largest" or "smallest", or a word of the same meaning, out of a prompt, with its number.

    Where it is not clear what the word is said of ("all but the largest polyp", "larger than the
    other", two of them at once, none of them), the prompt stays as it is, and the word is an unknown one.

    Args:
        prompt: free text.

    Returns:
        The rest of the prompt, and the rank; None without one.

    Example::

        take_rank("the 2 largest of 5 wounds")  # ("the  of 5 wounds", Rank(smallest=False, count=2))
    """
    text = normalize(prompt)
    found = list(_RANK.finditer(text))
    negated = (NEGATIONS | EXCEPTIONS).intersection(re.findall(r"\w+", text))
    if len(found) != 1 or negated:
        return prompt, None
    before, word, after = found[0].groups()
    said = before or after or "one"
    count = NUMBER_WORDS[said] if said in NUMBER_WORDS else int(said)
    return (_RANK.sub("", text), Rank(_SMALLEST[word], count)) if count else (prompt, None)
