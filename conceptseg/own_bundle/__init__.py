"""A bundle for one's own labels, made after one of this project's."""

from .patterns import PICTURES, VOLUMES, patterns_for, write_after_first_fit
from .survey import Survey, VolumeChoices, choose_for_volumes, images_in, survey_images
from .writing import OwnBundle, is_volume_bundle, with_task, write_own_bundle

__all__ = [
    "PICTURES",
    "VOLUMES",
    "OwnBundle",
    "Survey",
    "VolumeChoices",
    "choose_for_volumes",
    "images_in",
    "is_volume_bundle",
    "patterns_for",
    "survey_images",
    "with_task",
    "write_after_first_fit",
    "write_own_bundle",
]
