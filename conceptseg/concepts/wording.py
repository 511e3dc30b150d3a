"""Words a reader may use beside the canonical ones."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    """The words of a list."""
    return frozenset(text.split())


FILLERS = _words(
    "a an the in of at on to with and or is are there this that these it its which as has "
    "have located location position positioned lying situated found seen visible image "
    "picture photo photograph scan slice frame volume area areas region regions side part "
    "portion corner half hand zone quadrant third edge section object objects show segment "
    "find mark outline detect delineate highlight locate draw select get give me please i "
    "want need all any every color colour colored coloured shape shaped size sized looking "
    "appearing intensity signal level nor but only just for from can could you them ones "
    "diameter measuring"
)
IMAGE_NOUNS = _words("image picture photo photograph scan slice frame")
GENERIC_NOUNS = _words(
    "lesion lesions finding findings target targets abnormality abnormalities structure "
    "structures pathology"
)
NEGATIONS = _words("no not non without except excluding never")
ABSENCES = _words("no without never")  # before a keyword: there is none of it
UNITS = _words(
    "mm cm um ml cc px pixel pixels voxel voxels percent % millimeter millimeters"
    " millimetre millimetres centimeter centimeters centimetre centimetres"
)

NUMBER_WORDS = {
    "zero": 0, "one": 1, "single": 1, "solitary": 1, "two": 2, "couple": 2, "pair": 2, "both": 2,
    "double": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "many": 4, "several": 4, "multiple": 4, "numerous": 4,
}  # fmt: skip
LEVEL_WORDS = {  # before "level"
    "superior": "superior", "top": "superior", "center": "middle", "medium": "middle",
    "inferior": "inferior", "bottom": "inferior",
}  # fmt: skip
MAX_NUMBER = 100  # a larger number in a prompt is a slip or an identifier, not a count

_SYNONYM_GROUPS = {
    "round": "circular circle spherical rounded roundish",
    "oval": "ovoid ovular elliptical elliptic ellipse ellipsoid ellipsoidal",
    "elongated": "long elongate oblong linear tubular stretched",
    "irregular": "irregularly amorphous lobulated ragged jagged",
    "tiny": "minute minuscule diminutive pinpoint",
    "small": "little smallish",
    "medium": "moderate intermediate mid average",
    "large": "big huge giant sizable",
    "red": "reddish crimson",
    "orange": "orangish",
    "yellow": "yellowish",
    "green": "greenish",
    "blue": "bluish",
    "purple": "purplish violet",
    "pink": "pinkish",
    "brown": "brownish tan",
    "black": "blackish",
    "gray": "grey grayish greyish",
    "white": "whitish",
    "dark": "darker hypointense hypoechoic hypodense hypoattenuating",
    "bright": "brighter light lighter hyperintense hyperechoic hyperdense hyperattenuating",
    "isointense": "isoechoic isodense isoattenuating",
    "top": "upper uppermost above",
    "bottom": "lower lowermost below",
    "center": "centre central centered centred middle",
    "left": "leftmost lefthand sinistral",
    "right": "rightmost righthand dextral",
    "anterior": "ventral",
    "posterior": "dorsal",
    "superior": "cranial",
    "inferior": "caudal",
}
SYNONYMS = {word: name for name, words in _SYNONYM_GROUPS.items() for word in words.split()}

IRREGULAR_PLURALS = {
    "hippocampus": "hippocampi",
    "nevus": "nevi",
    "thrombus": "thrombi",
    "nucleus": "nuclei",
    "embolus": "emboli",
    "foot": "feet",
    "vertebra": "vertebrae",
}
