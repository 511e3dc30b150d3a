"""A bundle for one's own labels, made after one of this project's."""

from .survey import Survey, VolumeChoices, choose_for_volumes, images_in, survey_images
from .writing import OwnBundle, is_volume_bundle, write_own_bundle

__all__ = [
    "OwnBundle",
    "Survey",
    "VolumeChoices",
    "choose_for_volumes",
    "images_in",
    "is_volume_bundle",
    "survey_images",
    "write_own_bundle",
]
