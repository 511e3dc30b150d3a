"""CLIPSeg's pretrained image encoder, text encoder and mask decoder behind our interfaces.

Composed around the classes of `transformers.models.clipseg`, whose parameter names are kept. Needs
transformers; nothing else in the package imports it.
"""

from .backbone import ClipSegBackbone
from .config import REFINED_CHECKPOINT, clipseg_config
from .decoder import ClipSegMaskDecoder
from .text_encoder import ClipSegTextEncoder
from .weights import load_pretrained_clipseg

__all__ = [
    "REFINED_CHECKPOINT",
    "ClipSegBackbone",
    "ClipSegMaskDecoder",
    "ClipSegTextEncoder",
    "clipseg_config",
    "load_pretrained_clipseg",
]
