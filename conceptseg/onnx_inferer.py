"""The text-free path by ONNX Runtime, as a drop-in inferer: `--inferer @onnx_inferer`.

Needs the extra "onnx" and a model made by scripts/export_onnx.py. Prompts need the text encoder, which
is not in that model: they are refused in one sentence.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .backbones import BackboneOutput
from .inferer import ConceptInferer
from .network import ConceptSegNet
from .prediction import EncodedImage, ImageEncoding, Prediction

WEIGHTS_KEY = "weights_digest"  # in the model's metadata: which weights it was made from
PROVIDERS = {
    "cpu": ["CPUExecutionProvider"],
    "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"],
    "tensorrt": ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
}


def weights_digest(network: torch.nn.Module) -> str:
    """Short SHA-256 of a network's weights, the same for equal weights on any device."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        if name.endswith(".keywords_checksum"):
            continue  # models made before it was there stay those of the same weights
        if name.startswith("outline.") and not tensor.any():
            continue  # likewise: not trained, it moves nothing
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def require(module: str) -> Any:
    """Import a module of the extra "onnx".

    Raises:
        ModuleNotFoundError: it is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"Expected {module.partition('.')[0]}, got none. Install the extra: pip install"
            " 'conceptseg[onnx]'."
        ) from error


def open_session(path: str | Path, provider: str = "cpu", threads: int = 0) -> Any:
    """An ONNX Runtime session.

    Args:
        path: model file.
        provider: "cpu", "cuda" or "tensorrt".
        threads: of the CPU; 0: as many as PyTorch uses.

    Raises:
        FileNotFoundError: no model there.
        ValueError: unknown provider, or one that this machine does not have.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"Expected an ONNX model at '{path}', got no file. Make it: python"
            " scripts/export_onnx.py BUNDLE."
        )
    if provider not in PROVIDERS:
        raise ValueError(f"Expected a provider of {', '.join(PROVIDERS)}, got '{provider}'.")
    runtime = require("onnxruntime")
    wanted = PROVIDERS[provider][0]
    if wanted not in runtime.get_available_providers():
        raise ValueError(
            f"Expected ONNX Runtime with {wanted}, got {runtime.get_available_providers()}. Use"
            " provider cpu, or install onnxruntime-gpu on a machine with an NVIDIA GPU"
            + (" and TensorRT." if provider == "tensorrt" else ".")
        )
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.log_severity_level = 3
    return runtime.InferenceSession(str(path), options, providers=PROVIDERS[provider])


class OnnxNetwork:
    """A session behind the interface that `ConceptInferer` asks of a network.

    Args:
        session: of a model with the input "image" (B, C, H, W) of fixed size and the outputs "logits"
            (B, K, H, W), "presence" (B, K) and "student" (B, K, E).
        network: the network it was made from, for keywords, threshold and read-out.
    """

    def __init__(self, session: Any, network: ConceptSegNet) -> None:
        self.session = session
        self.keywords = network.keywords
        self.descriptors = network.descriptors
        self.backbone = network.backbone
        self.readout = network.readout
        self.gate = network.gate
        self.has_presence = network.presence is not None
        self.size = tuple(session.get_inputs()[0].shape[2:])

    def encode_image(self, image: Tensor) -> ImageEncoding:
        """The whole text-free pass on `image` (B, C, H, W); there is nothing to decode afterwards.

        Raises:
            ValueError: another size than the model's.
        """
        if tuple(image.shape[2:]) != self.size:
            raise ValueError(
                f"Expected images or slices of at most {self.size} pixels, the ONNX model's size,"
                f" got {tuple(image.shape[2:])} after padding. Crop the volume to the structure,"
                " export with a larger --size, or use the PyTorch inferer."
            )
        array = np.ascontiguousarray(image.detach().cpu().numpy(), dtype=np.float32)
        names = ["logits", "presence", "student"]
        found = [torch.from_numpy(x) for x in self.session.run(names, {"image": array})]
        logits, presence, student = (x.to(image.device) for x in found)
        return ImageEncoding(BackboneOutput(student[:, 0], [logits, presence]), student)

    def condition(self, encoding: ImageEncoding, *_: Tensor) -> Tensor:
        """The student embeddings (B, K, E)."""
        return encoding.student

    def decode(self, encoding: ImageEncoding, condition: Tensor) -> tuple[Tensor, Tensor | None]:
        """Mask logits (B, K, H, W) and presence logits (B, K), computed already."""
        logits, presence = encoding.backbone.features
        return logits, presence if self.has_presence else None


class OnnxInferer(ConceptInferer):
    """`ConceptInferer` whose text-free pass runs in ONNX Runtime.

    Args:
        model: ONNX file made by scripts/export_onnx.py.
        provider: "cpu", "cuda" or "tensorrt".
        kwargs: those of `ConceptInferer`.

    Raises:
        ValueError: a prompt is given.
    """

    text_free_only = True

    def __init__(self, model: str, provider: str = "cpu", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = str(model)
        self.provider = provider
        self._refuse_prompt(self.prompt)
        if self.condition != "text_free":
            raise ValueError(f"Expected condition 'text_free', got '{self.condition}'.")
        self._session: Any = None

    @staticmethod
    def _refuse_prompt(prompt: str | None) -> None:
        """The model has no text encoder."""
        if prompt is not None:
            raise ValueError(
                f"Expected no prompt with the ONNX model, which is text-free, got {prompt!r}. Use"
                " the PyTorch inferer for prompts."
            )

    def _wrap(self, network: ConceptSegNet) -> OnnxNetwork:
        """The session in a network's clothes; opened at the first image."""
        if self._session is None:
            self._session = open_session(self.model, self.provider)
            made_from = self._session.get_modelmeta().custom_metadata_map.get(WEIGHTS_KEY)
            if made_from != weights_digest(network):
                raise ValueError(
                    f"Expected '{self.model}' to be made from the loaded weights, got one made from"
                    " others. Run scripts/export_onnx.py again."
                )
        return OnnxNetwork(self._session, network)

    def stream(self, image: Tensor, network: ConceptSegNet) -> EncodedImage:
        """See `ConceptInferer.stream`; small images are padded to the model's size."""
        wrapped = self._wrap(network)
        self.minimum_size = max(self.minimum_size, *wrapped.size)
        return super().stream(image, wrapped)

    def decode(
        self,
        encoded: EncodedImage,
        network: ConceptSegNet,
        prompt: str | None = None,
        teachers: Sequence[Tensor] | None = None,
    ) -> Prediction:
        """See `ConceptInferer.decode`.

        Raises:
            ValueError: a prompt or prompt embeddings are given.
        """
        self._refuse_prompt(prompt or self.prompt or ("an oracle prompt" if teachers else None))
        return super().decode(encoded, self._wrap(network))
