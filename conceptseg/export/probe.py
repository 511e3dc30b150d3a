"""Loads a bundle as a stranger would: in a process in which the installed package cannot be imported.

Run as a file from the bundle's folder: `python probe.py ITEM ...`. It prints one JSON object, item ->
[passed, sentence]. It imports nothing of the package, so the bundle must stand on its own feet.
"""

import json
import sys
import traceback
from pathlib import Path


def network_in_out(config: str) -> str:
    """MONAI's own check of the network's input and output against metadata.json."""
    from monai.bundle import verify_net_in_out

    meta = "configs/metadata.json"
    verify_net_in_out(net_id="network_def", meta_file=meta, config_file=config, device="cpu")
    return "the network gives what metadata.json promises"


def workflow_ids(config: str) -> str:
    """MONAI's own check of the standard ids, training included where there is a train config."""
    from monai.bundle import ConfigWorkflow

    found = []
    for kind, name in (("infer", config), ("train", config.replace("inference", "train"))):
        if not Path(name).is_file():
            continue
        workflow = ConfigWorkflow(
            config_file=name,
            meta_file="configs/metadata.json",
            workflow_type=kind,
            logging_file=False,
            bundle_root=".",
        )
        workflow.parser.parse(True)  # writes references in their full form
        absent = [
            key
            for key, entry in workflow.properties.items()
            if entry["required"] and not _has(workflow.parser, entry["id"])
        ]
        wrong = [
            key
            for key, entry in workflow.properties.items()
            if not entry["required"] and not workflow._check_optional_id(key, entry)
        ]
        if absent or wrong:
            raise ValueError(f"{name}: missing ids {absent}, wrong ids {wrong}")
        found.append(kind)
    return f"standard ids are there: {', '.join(found)}"


def _has(parser, key: str) -> bool:
    """Say whether a config has an id, unresolved."""
    return parser.get(key.replace("::", "#"), None) is not None


def weights(config: str) -> str:
    """The weights load with weights_only and fit the network."""
    import torch
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(config)
    parser["bundle_root"] = "."
    network = parser.get_parsed_content("network_def")
    if not Path("models/model.pt").is_file():
        raise FileNotFoundError("no models/model.pt to load")
    state = torch.load("models/model.pt", map_location="cpu", weights_only=True)
    network.load_state_dict(state.get("model", state))
    count = sum(parameter.numel() for parameter in network.parameters())
    return f"weights fit the network, {count / 1e6:.2f} million parameters"


def main() -> None:
    """Run the items asked for."""
    sys.modules["conceptseg"] = None  # any import of it fails
    sys.path.insert(0, str(Path.cwd()))
    config = next(str(p) for p in sorted(Path("configs").glob("inference.*")))
    results = {}
    for item in sys.argv[1:]:
        try:
            results[item] = [True, globals()[item](config)]
        except Exception as error:
            traceback.print_exc()
            while error.__cause__ is not None:
                error = error.__cause__
            results[item] = [False, f"{type(error).__name__}: {error}"]
    print("\n" + json.dumps(results))


if __name__ == "__main__":
    main()
