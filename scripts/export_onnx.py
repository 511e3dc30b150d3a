"""Export a bundle's text-free path to ONNX (float32; with --int8 also a quantised copy)."""

import argparse
import shutil
import sys
from pathlib import Path

from conceptseg.onnx_compare import load_network, network_inputs, read_train_config, section_cases
from conceptseg.onnx_export import export_onnx, quantise

TENSORRT = (
    "trtexec --onnx={model} --saveEngine={engine} --fp16 --minShapes=image:1x{shape}"
    " --optShapes=image:16x{shape} --maxShapes=image:32x{shape}"
)


def main() -> int:
    """Parse, export, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path, help="bundle folder")
    parser.add_argument("--weights", type=Path, help="weights, default BUNDLE/models/model.pt")
    parser.add_argument("--size", type=int, help="height and width in pixels, default the config's")
    parser.add_argument("--out", type=Path, help="folder to write to, default BUNDLE/models")
    parser.add_argument("--int8", action="store_true", help="also write model_int8.onnx")
    parser.add_argument("--dataset_dir", help="training cases to calibrate int8 on")
    parser.add_argument("--split_file", help="split of these, default as training draws it")
    parser.add_argument("--calibration_cases", type=int, default=24, help="default 24")
    parser.add_argument("--tensorrt", action="store_true", help="print the TensorRT command")
    args = parser.parse_args()
    try:
        run(args)
    except (OSError, ValueError, ImportError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def run(args: argparse.Namespace) -> None:
    """Write the models."""
    out = args.out or args.bundle / "models"
    config = read_train_config(
        args.bundle.resolve(), dataset_dir=args.dataset_dir, split_file=args.split_file
    )
    network = load_network(config, args.weights)
    own_size = "slice_size" if "slice_size" in config else "image_size"
    size = args.size or config.get_parsed_content(own_size)
    model = export_onnx(network, out / "model.onnx", size)
    print(f"float32  {model} ({model.stat().st_size / 1e6:.1f} MB, {size} x {size} pixels)")
    if args.int8:
        if not args.dataset_dir:
            raise ValueError("Expected --dataset_dir with training cases for --int8, got none.")
        cases = section_cases(config, "training", args.calibration_cases)
        inferer = config.get_parsed_content("inferer").copy(minimum_size=size)
        every = 4 if "slice_axes" in config.config else 1  # neighbouring slices are alike
        images = network_inputs(inferer, network, (case["image"] for case in cases), every)
        small = quantise(model, out / "model_int8.onnx", images)
        count = sum(len(batch) for batch in images)
        print(
            f"int8     {small} ({small.stat().st_size / 1e6:.1f} MB, calibrated on {count} images of"
            f" {len(cases)} training cases)"
        )
    if args.tensorrt:
        if shutil.which("trtexec") is None:
            raise ValueError(
                "Expected TensorRT's trtexec on the path, got none: install TensorRT on a machine"
                " with an NVIDIA GPU, then run this there."
            )
        shape = f"{network.backbone.in_channels}x{size}x{size}"
        print(TENSORRT.format(model=model, engine=out / "model.engine", shape=shape))


if __name__ == "__main__":
    sys.exit(main())
