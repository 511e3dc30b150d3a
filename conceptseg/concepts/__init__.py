"""Concepts: what can be said about the objects of a class, measured from a mask or read from a prompt."""

from .measured import MeasuredConcepts, Measurements, component_masks
from .parsing import ParsedPrompt, parse_prompt
from .schema import ATTRIBUTES, LOCATIONS, Concepts, number_bin
from .sentences import canonical_vocabulary, concepts_to_sentence
from .source import ConceptSource

__all__ = [
    "ATTRIBUTES",
    "LOCATIONS",
    "ConceptSource",
    "Concepts",
    "MeasuredConcepts",
    "Measurements",
    "ParsedPrompt",
    "canonical_vocabulary",
    "component_masks",
    "concepts_to_sentence",
    "number_bin",
    "parse_prompt",
]
