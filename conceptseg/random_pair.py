"""What random transforms of an image together with its label share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Mapping

from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from torch import Tensor


class RandPaird(RandomizableTransform, MapTransform):
    """A change of a 2-D image and its label that is made with a probability.

    Args:
        keys: image (C, W, H) and label (1, W, H), in this order.
        prob: probability of the change.
    """

    def __init__(self, keys: KeysCollection, prob: float) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob)
        if len(self.keys) != 2:
            raise ValueError(f"expected the keys of an image and its label, got {self.keys}")

    def __call__(self, data: Mapping[Hashable, Tensor]) -> dict[Hashable, Tensor]:
        """`data` with image and label changed, or as they were."""
        result = dict(data)
        self.randomize(None)
        if self._do_transform:
            image, label = self.keys
            result[image], result[label] = self.change(result[image], result[label])
        return result

    @abstractmethod
    def change(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """New image and label, or those given where nothing can be changed."""
