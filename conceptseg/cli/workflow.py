"""A bundle's own inference workflow, driven one image at a time."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from ..export.checksums import file_sha256
from ..export.renaming import EXPORTED

REPOSITORY_BUNDLES = Path(__file__).resolve().parents[2] / "bundles"


def find_bundle(name: str) -> Path:
    """Folder of a bundle given by path, or by name in ./bundles or the repository's bundles.

    Raises:
        FileNotFoundError: no such bundle.
    """
    places = [Path(name).expanduser(), Path("bundles") / name, REPOSITORY_BUNDLES / name]
    for place in places:
        if (place / "configs" / "inference.yaml").is_file():
            return place.resolve()
    raise FileNotFoundError(
        f"Expected a bundle folder with configs/inference.yaml, got '{name}'. Give its path after"
        " --bundle."
    )


class Workflow:
    """The inference config of a bundle with its network, loaded once.

    The transforms, the inferer and the writers are the config's own; only what is read comes from
    here. An exported bundle runs its own code.

    Args:
        bundle: folder.
        output_dir: where masks go.
        root: folder below which the images lie; sub-folders are kept below `output_dir`.
        overrides: config id -> value, such as {"prompt": "small polyp"}.
    """

    def __init__(
        self, bundle: Path, output_dir: Path, root: Path, overrides: Mapping[str, Any]
    ) -> None:
        self.bundle = bundle
        if (bundle / EXPORTED).is_dir():
            sys.path.insert(0, str(bundle))
        self.parser = ConfigParser()
        self.parser.read_config(str(bundle / "configs" / "inference.yaml"))
        self.parser["bundle_root"] = str(bundle)
        self.parser["output_dir"] = str(output_dir)
        for key, value in overrides.items():
            self.parser[key] = value
        self._keep_sub_folders(root)
        self.parser["dataset#data"] = [{"image": ""}]  # the image in turn takes its place
        metadata = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
        self.version = str(metadata.get("version", "0"))

    @property
    def spatial_dims(self) -> int | None:
        """Axes of the images the bundle is for, where the config tells."""
        for transform in self.parser.get("preprocessing#transforms", []):
            reader = transform.get("reader") if isinstance(transform, dict) else None
            if isinstance(reader, dict) and "spatial_dims" in reader:
                return reader["spatial_dims"]
        return None

    @property
    def weights(self) -> Path:
        """File of the weights."""
        return Path(self.parser.get_parsed_content("checkpointloader#load_path"))

    @property
    def keywords(self) -> list[str]:
        """Label names in label order."""
        return list(self.parser.get_parsed_content("keywords"))

    def settings(self, **more: Any) -> dict[str, Any]:
        """What decides the result of an image."""
        if not self.weights.is_file():
            raise FileNotFoundError(
                f"Expected weights at '{self.weights}', got no file. Train the bundle, or give"
                " --weights FILE."
            )
        config = file_sha256(self.bundle / "configs" / "inference.yaml")
        bundle = {"bundle": self.bundle.name, "version": self.version, "config": config}
        return {**bundle, "weights": file_sha256(self.weights), **more}

    def _keep_sub_folders(self, root: Path) -> None:
        """Let the saving transform keep the folders between `root` and the image."""
        for transform in self.parser.get("postprocessing#transforms", []):
            if str(transform.get("_target_", "")).endswith(".SaveSegmentationd"):
                transform["data_root_dir"] = str(root)

    def _own_handlers(self) -> None:
        """Leave loading and progress to this class, the table and the overlays to the config's."""
        kept = [
            handler
            for handler in self.parser.get("handlers", [])
            if isinstance(handler, dict) and not handler["_target_"].endswith("ProgressBar")
        ]
        self.parser["handlers"] = kept

    def load(self) -> None:
        """Build everything and load the weights.

        Raises:
            ValueError: the prompt cannot be followed.
        """
        self._own_handlers()
        self._check_prompt()
        self.evaluator = self.parser.get_parsed_content("evaluator")
        self.evaluator.inferer.progress = True
        self.dataset = self.parser.get_parsed_content("dataset")
        handlers = self.parser.get_parsed_content("handlers") or []
        self.table = next((h for h in handlers if hasattr(h, "rows")), None)
        transforms = self.parser.get_parsed_content("postprocessing").transforms
        self.saver = next(t for t in transforms if hasattr(t, "output_path"))
        self.parser.get_parsed_content("checkpointloader")(self.evaluator)

    def _check_prompt(self) -> None:
        """Read the prompt as the inferer will, before any image is."""
        inferer = self.parser.get_parsed_content("inferer")
        package = type(inferer).__module__.rpartition(".")[0]
        guidance = importlib.import_module(f"{package}.guidance")
        descriptors = self.parser.get_parsed_content("descriptors", default={})
        guidance.plan_prompt(
            inferer.prompt, self.keywords, self.spatial_dims == 3, descriptors=descriptors
        )

    def run(self, image: Path) -> tuple[list[dict], list[str], list[str]]:
        """Segment one image.

        Returns:
            Rows of its table, files written, remarks.
        """
        self.dataset.data = [{"image": str(image)}]
        self.evaluator.run()
        outputs = self.evaluator.state.output
        mask = Path(outputs[0]["pred"].meta["saved_to"])
        overlay = mask.with_name(f"{mask.name.removesuffix('.gz').rpartition('.')[0]}_overlay.png")
        notes = [n for o in outputs for n in json.loads(o.get("report", "{}")).get("warnings", [])]
        files = [str(file) for file in (mask, overlay) if file.exists()]
        return list(self.table.rows if self.table else []), files, notes
