"""A bundle folder as the app needs it: labels, network, transforms, inferer."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose

from conceptseg.export.renaming import EXPORTED, PACKAGE, rename_modules
from conceptseg.inferer import ConceptInferer

APP_DIR = Path(__file__).resolve().parents[1]
BUNDLES_DIR = APP_DIR.parents[1] / "bundles"
_SAVING = ("SaveSegmentationd", "SaveImaged")
_DISCRETE = "AsDiscreted"  # probabilities before it, a label map after it


def find_bundles(names: str, folders: list[Path]) -> list[Path]:
    """Folders of the bundles in a comma-separated list of names and paths.

    Args:
        names: such as "hippocampus_mr_segmentation,/data/my_bundle".
        folders: where names are looked up, in this order.

    Raises:
        FileNotFoundError: no such bundle.
    """
    found = []
    for name in filter(None, (part.strip() for part in names.split(","))):
        candidates = [Path(name).expanduser(), *(folder / name for folder in folders)]
        usable = [c for c in candidates if config_file(c, "inference") is not None]
        if not usable:
            raise FileNotFoundError(
                f"Expected a bundle folder with configs/inference.yaml, got {name!r}; looked at"
                f" {', '.join(str(c) for c in candidates)}. Give its path after --conf bundles."
            )
        found.append(usable[0].resolve())
    if not found:
        raise ValueError("Expected bundles to serve, got none. Add: --conf bundles NAME_OR_PATH")
    return found


def config_file(bundle: Path, name: str) -> Path | None:
    """The workflow config `name` of a bundle as JSON or YAML, None if there is none."""
    for suffix in (".yaml", ".json"):
        if (bundle / "configs" / f"{name}{suffix}").is_file():
            return bundle / "configs" / f"{name}{suffix}"
    return None


def read_config(bundle: Path, name: str) -> ConfigParser:
    """Parser of a workflow config; what an exported bundle carries in `scripts` is taken from the package.

    Raises:
        FileNotFoundError: the bundle has no such config.
    """
    path = config_file(bundle, name)
    if path is None:
        raise FileNotFoundError(f"Expected configs/{name}.yaml in '{bundle}', got none. Add it.")
    parser = ConfigParser()
    parser.read_config(str(path))
    if (bundle / EXPORTED / "network.py").is_file():
        parser.config = rename_modules(parser.config, EXPORTED, PACKAGE)
    parser["bundle_root"] = str(bundle)
    return parser


class Bundle:
    """What the app reads from a bundle's inference config and metadata.

    Args:
        path: folder of the bundle.

    Attributes:
        name: folder name; also the name of the automatic model.
        keywords: label names in label order; label k is `keywords[k - 1]`.
        dimension: 2 for photographs, 3 for volumes.
        descriptors: closed lists of what prompts may say beside the attributes; mostly none.
        presence_threshold: probability of presence below which the config's network empties a mask.
        description, version: from metadata.json where there is one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self._parser = read_config(path, "inference")
        self.keywords: tuple[str, ...] = tuple(self._parser.get_parsed_content("keywords"))
        self.dimension = 3 if "slice_axes" in self._parser.config else 2
        self.descriptors = self._parser.get_parsed_content("descriptors", default={})
        metadata_file = path / "configs" / "metadata.json"
        metadata = json.loads(metadata_file.read_text()) if metadata_file.is_file() else {}
        self.version = str(metadata.get("version", "0"))
        self.description = metadata.get("description") or (
            f"Text-free segmentation of {', '.join(self.keywords)}, steered by a concept prompt"
        )
        self.display = self._parser.get_parsed_content("displayable_configs", default={})
        network = self._parser["network_def"]  # or the name of another network of the config
        network = network.removeprefix("@") if isinstance(network, str) else "network_def"
        threshold = self._parser.get_parsed_content(f"{network}#presence_threshold", default=0.5)
        self.presence_threshold = float(threshold)

    @property
    def labels(self) -> dict[str, int]:
        """Label name -> value, stable over all requests."""
        return {keyword: value for value, keyword in enumerate(self.keywords, start=1)}

    def build_network(self) -> torch.nn.Module:
        """A new network without weights, on the CPU."""
        return read_config(self.path, "inference").get_parsed_content("network_def")

    def build_inferer(self) -> ConceptInferer:
        """The config's inferer, text-free."""
        return self._parser.get_parsed_content("inferer").copy(prompt=None)

    def build_transforms(self) -> tuple[Compose, Compose, Compose]:
        """Preprocessing of {"image": path}, the way back to the image's grid, and the cleaning after it.

        Saving is left out. Cleaning is what the config does to the finished label map, such as
        keeping the largest part of each label.
        """
        parser = read_config(self.path, "inference")
        before = parser.get_parsed_content("preprocessing")
        after = parser.get_parsed_content("postprocessing")
        kept = [t for t in after.transforms if type(t).__name__ not in _SAVING]
        names = [type(t).__name__ for t in kept]
        last = names.index(_DISCRETE) + 1 if _DISCRETE in names else len(kept)
        return before, Compose(kept[:last]), Compose(kept[last:])
