"""The text-free path as an ONNX model: image -> logits, presence, student embedding; float32 and int8."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .atomic import atomic_path
from .network import ConceptSegNet
from .onnx_inferer import WEIGHTS_KEY, require, weights_digest

OPSET = 18
OUTPUTS = ("logits", "presence", "student")


class TextFreePath(nn.Module):
    """What the network does without a prompt, as plain tensors.

    Args:
        network: trained network.
    """

    def __init__(self, network: ConceptSegNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Image (B, C, H, W) -> logits (B, K, H, W) before gating, presence (B, K), student (B, K, E)."""
        encoding = self.network.encode_image(image)
        logits, presence = self.network.decode(encoding, self.network.condition(encoding))
        if presence is None:
            presence = logits.amax(dim=(2, 3))
        return logits, presence, encoding.student


def export_onnx(network: ConceptSegNet, path: str | Path, size: int) -> Path:
    """Write the text-free path of `network` as ONNX with a dynamic batch and a fixed image size.

    Args:
        network: trained network, on the CPU.
        path: file to write.
        size: height and width in pixels, a multiple of the encoder's divisor.

    Raises:
        ModuleNotFoundError: the extra "onnx" is not installed.
        ValueError: a size that the encoder does not take.
    """
    onnx = require("onnx")
    require("onnxscript")
    divisor = network.backbone.divisor
    if size < 2 * divisor or size % divisor:
        raise ValueError(
            f"Expected a size in multiples of {divisor}, at least {2 * divisor}, got {size}."
        )
    module = TextFreePath(network).eval()
    example = torch.randn(2, network.backbone.in_channels, size, size)
    with _quiet():
        program = torch.onnx.export(
            module,
            (example,),
            input_names=["image"],
            output_names=list(OUTPUTS),
            dynamic_shapes={"image": {0: torch.export.Dim("batch")}},
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
        )
    model = program.model_proto
    entry = model.metadata_props.add()
    entry.key, entry.value = WEIGHTS_KEY, weights_digest(network)
    for node in model.graph.node:  # it holds the paths of the exporting machine
        del node.metadata_props[:]
        node.doc_string = ""
    onnx.checker.check_model(model)
    with atomic_path(path) as temporary:
        onnx.save(model, temporary)
    return Path(path)


def quantise(
    model: str | Path, path: str | Path, images: Sequence[np.ndarray], exclude: Sequence[str] = ()
) -> Path:
    """Write an int8 copy of an ONNX model by static quantisation.

    Weights are quantised per channel, activations by what they are on `images`.

    Args:
        model: float32 file from `export_onnx`.
        path: file to write.
        images: calibration batches (B, C, H, W) float32, of training cases.
        exclude: names of nodes to keep in float32.

    Raises:
        ValueError: no calibration images.
    """
    if not images:
        raise ValueError("Expected training images to calibrate on, got none. Give --dataset_dir.")
    onnx = require("onnx")
    tools = require("onnxruntime.quantization")
    with tempfile.TemporaryDirectory() as folder, _quiet():
        prepared = Path(folder) / "prepared.onnx"
        tools.shape_inference.quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
        kept = [*exclude, *_last_convolutions(onnx.load(prepared))]
        with atomic_path(path) as temporary:
            tools.quantize_static(
                str(prepared),
                str(temporary),
                _reader(tools, images),
                quant_format=tools.QuantFormat.QDQ,
                per_channel=True,
                activation_type=tools.QuantType.QUInt8,
                weight_type=tools.QuantType.QInt8,
                nodes_to_exclude=kept,
                op_types_to_quantize=["Conv", "MatMul", "Gemm"],
            )
    return Path(path)


def _last_convolutions(model: Any, count: int = 2) -> list[str]:
    """Names of the last convolutions, which write the logits: 8 bits would show in the border."""
    return [node.name for node in model.graph.node if node.op_type == "Conv"][-count:]


def _reader(tools: Any, images: Sequence[np.ndarray]) -> Any:
    """ONNX Runtime's way to be given calibration images."""

    class Reader(tools.CalibrationDataReader):
        """Gives one batch at a time, then None."""

        def __init__(self) -> None:
            self.batches: Iterator[np.ndarray] = iter(images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            """The next batch."""
            batch = next(self.batches, None)
            return None if batch is None else {"image": batch}

    return Reader()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide the exporters' progress lines and warnings; errors still come through."""
    level = logging.root.manager.disable
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(level)
