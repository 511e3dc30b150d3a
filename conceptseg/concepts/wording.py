"""Words a reader may use beside the canonical ones."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    """The words of a list."""
    return frozenset(text.split())


ARTICLES = _words("a an the this that these its")
PRONOUNS = _words("it them ones i me you there which")
PREPOSITIONS = _words("in of at on to with for from as")
CONJUNCTIONS = _words("and or nor but")
ALL_WORDS = _words("all any anything every everything")
REQUEST_WORDS = _words(
    "show segment find mark outline detect delineate highlight locate draw select get give please"
    " want need can could would do identify display contour annotate just only"
)
STATE_WORDS = _words(
    "is are has have located lying positioned situated found seen visible looking appearing"
)
PLACE_NOUNS = _words(
    "location position area areas region regions side part portion corner half zone quadrant third"
    " edge section"
)
IMAGE_NOUNS = _words("image picture photo photograph scan slice frame")
PROPERTY_NOUNS = _words(
    "color colour colored coloured shape shaped size sized diameter measuring level signal intensity"
)
FILLERS = frozenset().union(  # understood, and without a meaning of their own
    ARTICLES, PRONOUNS, PREPOSITIONS, CONJUNCTIONS, ALL_WORDS, REQUEST_WORDS, STATE_WORDS,
    PLACE_NOUNS, IMAGE_NOUNS, PROPERTY_NOUNS, ["object", "objects", "volume"],
)  # fmt: skip
INDEX_NOUNS = _words(  # a number after one of these tells which one, or how large, not how many
    "slice slices frame frames segment segments section sections zone zones image images scan scans"
    " volume volumes picture pictures photo photos photograph photographs area areas region regions"
    " quadrant quadrants level levels series case phase grade stage type rads birads size diameter"
    " measuring"
)
SIGNAL_NOUNS = _words("signal signals intensity intensities contrast density attenuation")
BODY_PARTS = _words(  # that have a side of their own, or an upper and a lower one
    "hand hands foot feet leg legs arm arms forearm forearms knee knees elbow elbows shoulder"
    " shoulders wrist wrists ankle ankles hip hips heel heels toe toes finger fingers thumb thumbs"
    " thigh thighs shin shins calf calves palm palms buttock buttocks breast breasts lung"
    " lungs kidney kidneys eye eyes eyelid eyelids ear ears cheek cheeks lip lips jaw"
    " chest abdomen flank groin axilla armpit ovary ovaries colon thyroid nipple nipples sole soles"
    " sacrum malleolus malleoli"
)
ORGAN_PARTS = _words("lobe lobes hemisphere hemispheres ventricle ventricles atrium atria")
OBJECT_PARTS = _words(  # said of an object beside words for a place, such as "center"
    "edge edges rim rims border borders margin margins core cores periphery"
)
GENERIC_NOUNS = _words(
    "lesion lesions finding findings target targets abnormality abnormalities structure "
    "structures pathology"
)
NEGATIONS = _words("no not non neither without except excluding never")
ABSENCES = _words("no neither without never")  # before a keyword: there is none of it
EXCEPTIONS = _words("but except excluding")  # before a list of keywords: all the others
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
