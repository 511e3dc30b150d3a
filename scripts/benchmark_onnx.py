"""Compare PyTorch with the ONNX models of a bundle on its test cases: parity, Dice, speed ratios.

The runtimes take turns on every case; ratios are PyTorch's seconds over the runtime's."""

import argparse
import json
import sys
from pathlib import Path

import torch

from conceptseg.onnx_compare import (
    compare,
    load_network,
    read_train_config,
    section_cases,
    table,
)


def main() -> int:
    """Parse, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path, help="bundle folder")
    parser.add_argument("--dataset_dir", required=True, help="images and masks")
    parser.add_argument("--split_file", help="split of these, default as training draws it")
    parser.add_argument("--section", default="testing", help="default testing")
    parser.add_argument("--weights", type=Path, help="weights, default BUNDLE/models/model.pt")
    parser.add_argument("--models", type=Path, help="folder of model.onnx, default BUNDLE/models")
    parser.add_argument("--cases", type=int, default=24, help="at most so many cases, default 24")
    parser.add_argument("--repeats", type=int, default=3, help="timed rounds, default 3")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of all, default 1")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    try:
        rows = run(args)
    except (OSError, ValueError, ImportError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(rows, indent=1))
    else:
        for row in rows:
            said = (f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items())
            print("  ".join(said))
        ratios = " : ".join(f"{row['speed_ratio']:.2f}" for row in rows)
        print(f"\nspeed {' : '.join(row['runtime'] for row in rows)} = {ratios}")
    return 0


def run(args: argparse.Namespace) -> list[dict]:
    """The rows of the table."""
    config = read_train_config(
        args.bundle.resolve(), dataset_dir=args.dataset_dir, split_file=args.split_file
    )
    network = load_network(config, args.weights)
    inferer = config.get_parsed_content("inferer")
    folder = args.models or args.bundle / "models"
    files = {"onnx": folder / "model.onnx", "int8": folder / "model_int8.onnx"}
    models = {name: path for name, path in files.items() if path.is_file()}
    names = ("slice_axes", "slice_context", "minimum_size", "batch_size")
    arguments = {name: getattr(inferer, name) for name in names}
    cases = section_cases(config, args.section, args.cases)
    return table(compare(network, inferer, models, cases, args.repeats, arguments))


if __name__ == "__main__":
    sys.exit(main())
