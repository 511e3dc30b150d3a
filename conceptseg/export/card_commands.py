"""What a bundle's README says of its commands: what to install, what to run, what is overwritten."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_RUN = "python -m monai.bundle run --config_file"
_TRAIN, _EVALUATE = "configs/train.yaml", "configs/evaluate.yaml"
_META = "--meta_file configs/metadata.json"
_INSTALL = """\
Python 3.11 or 3.12 with these packages; in the project's repository `pip install -r requirements.txt` brings them
and the code:

```
pip install {pins}
```

From the bundle's folder, or from anywhere with `--bundle_root` and full paths:"""
_WRITTEN = """\
Training writes the best weights to `models/model.pt`, in place of those there. `--ckpt_dir FOLDER --output_dir FOLDER`
keeps them; the new ones are then judged with `--ckpt_dir FOLDER --split_file FOLDER/split.json --output_dir
FOLDER/eval`, and used with `--checkpointloader#load_path FOLDER/model.pt`."""
_SPLIT = """\
Evaluation takes the test cases of the split that training wrote, `train_output/split.json`, and draws one where there
is none."""
_PUBLIC = """\
`--split_file docs/split.json` is for the public data set: it judges only cases that the included weights were not
trained on. Leave it out for cases of your own."""
_START = """\
Training resumes from `train_output/last.pt` when it was stopped; `--resume False` refuses to. It starts from fresh
weights, or with `--start_weights FILE` from a `models/model.pt`; for other labels give `--keywords "[...]"` and
`--start_keywords "{keywords}"`. Labels and words of the same name keep what they had learned, and the best
checkpoint is never worse than the start on the validation cases."""
_ONNX = """\
With `models/model.onnx` (or `model_int8.onnx`) and ONNX Runtime, `--inferer @onnx_inferer` segments text-free
without PyTorch's encoder (`--onnx_inferer#model FILE` for the int8 model). A TensorRT engine, on a machine
with an NVIDIA GPU: `trtexec --onnx=models/model.onnx --saveEngine=models/model.engine --fp16
--minShapes=image:1x{channels}xSxS --optShapes=image:{usual}x{channels}xSxS --maxShapes=image:32x{channels}xSxS`, S the {size} size; or
`--onnx_inferer#provider tensorrt` where ONNX Runtime has it."""
_CONCEPTS = """\
`extract_concepts.yaml` describes every masked region: what the mask tells is measured, the rest (such as {asked})
comes from a multimodal model on a server named by `OPENAI_BASE_URL` and `OPENAI_MODEL` (none: `--source
@measured_concepts`). Pixels leave this machine only with `--allow_remote True`. It goes on after a stop; `run correct`,
`run import_table` and `run report` correct, import and judge{paper}."""
_PAPER = "; `paper_concepts.yaml` is the paper's own form"


def commands(bundle: Path, config: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    """The section of commands.

    Args:
        bundle: folder; docs/split.json and configs/paper_concepts.yaml are mentioned where they are.
        config: train.yaml.
        metadata: metadata.json.
    """
    is_volume = "slice_axes" in config
    is_split = (bundle / "docs" / "split.json").is_file()
    has_paper = (bundle / "configs" / "paper_concepts.yaml").is_file()
    block = "\n".join(_lines(_example(bundle), is_split))
    parts = [
        _INSTALL.format(pins=_pins(metadata)),
        f"```\n{block}\n```",
        _WRITTEN,
        f"{_SPLIT}\n{_PUBLIC}" if is_split else _SPLIT,
        _START.format(keywords=list(config["keywords"])),
        _ONNX.format(
            channels=2 * config["slice_context"] + 1 if is_volume else 3,
            usual=16 if is_volume else 8,
            size="slice" if is_volume else "image",
        ),
        _CONCEPTS.format(
            asked="margin or pattern" if is_volume else "colour, texture, margin or pattern",
            paper=_PAPER if has_paper else "",
        ),
    ]
    return "\n\n".join(parts)


def _pins(metadata: Mapping[str, Any]) -> str:
    """Packages in the versions of metadata.json; MONAI with what its command line needs."""
    pins = {"torch": metadata["pytorch_version"], "numpy": metadata["numpy_version"]}
    pins |= metadata["required_packages_version"]
    said = [f"{name}=={version}" for name, version in pins.items()]
    return " ".join([f"'monai[fire]=={metadata['monai_version']}'", *said])


def _example(bundle: Path) -> str:
    """The prompt that the head of inference.yaml gives as an example."""
    text = (bundle / "configs" / "inference.yaml").read_text(encoding="utf-8")
    found = re.search(r"^#.* (--prompt .+)$", text, re.MULTILINE)
    return found[1] if found else '--prompt "PROMPT"'


def _lines(example: str, is_split: bool) -> list[str]:
    """The commands."""
    judged = " --split_file docs/split.json" if is_split else ""
    segment = f"{_RUN} configs/inference.yaml --dataset_dir FOLDER --output_dir OUT"
    baseline = f"'{_TRAIN}','configs/baseline.yaml'"
    return [
        f"{_RUN} {_TRAIN} --dataset_dir DATA",
        f"{_RUN} \"['{_TRAIN}','{_EVALUATE}']\" --dataset_dir DATA{judged}",
        segment,
        f"{segment} {example}",
        f"torchrun --standalone --nnodes=1 --nproc_per_node=2 -m monai.bundle run --config_file"
        f" \"['{_TRAIN}','configs/multi_gpu_train.yaml']\" --dataset_dir DATA",
        f'{_RUN} "[{baseline}]" --dataset_dir DATA --output_dir BASELINE',
        f"{_RUN} \"[{baseline},'{_EVALUATE}']\" --dataset_dir DATA --split_file BASELINE/split.json"
        " --output_dir BASELINE --conditions \"['text_free']\"",
        f"{_RUN} configs/extract_concepts.yaml --dataset_dir DATA",
        f"{_RUN} {_TRAIN} --dataset_dir DATA --concepts_file DATA/concepts.jsonl",
        f"python -m monai.bundle verify_metadata {_META} --filepath schema.json",
        f"python -m monai.bundle verify_net_in_out --net_id network_def {_META}"
        " --config_file configs/inference.yaml",
    ]
