"""The MONAI Label app: annotate in 3D Slicer and OHIF with concept prompts.

python -m monailabel.main start_server --app apps/conceptseg --studies STUDIES --conf bundles NAME
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from lib.batch import ResumableBatch
from lib.bundle import BUNDLES_DIR, Bundle, find_bundles
from lib.conf import warn_of_unknown
from lib.desk import Desk, rounds_folder
from lib.dicomweb import StudiesServer, install_segment_names
from lib.infer import AutomaticTask, InteractiveTask
from lib.model import ServedModel, load_all
from lib.options import read_flag
from lib.problems import bad_request, unknown_name
from lib.rounds_route import install_rounds_page
from lib.scoring import DiceScore, UncertaintyScore
from lib.server import prepare
from lib.store import EXTENSIONS, StudiesFolder, check_id
from lib.strategies import STRATEGIES
from lib.terms import answering, own_names
from lib.train import TrainingTask
from monailabel.config import settings
from monailabel.datastore.dicom import DICOMwebClientX
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import DefaultLabelTag

logger = logging.getLogger(__name__)

INTERACTIVE_SUFFIX = "_interactive"


class ConceptSegApp(MONAILabelApp):
    """Serves bundles of this project.

    Options after `--conf`, each with one value: `bundles` names or paths, comma-separated; `bundles_dir`
    folder of named bundles; `model_dir` where trained weights go; `device`; `cache_size` encoded images
    kept per bundle, at most `cache_gb` GB of them; `preload` false loads the weights at the first request only; `auto_scoring` true
    scores in the background after each sample; `score_images` scores all images for the strategies
    while people annotate (true; false for a DICOMweb server, which would send every study);
    `lease_minutes` an image is kept for whom it was offered (120).
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        warn_of_unknown(conf)
        self._preload = read_flag("preload", conf.get("preload", True))
        model_dir = Path(conf.get("model_dir") or Path(app_dir) / "model")
        folders = [Path(conf["bundles_dir"])] if conf.get("bundles_dir") else []
        paths = find_bundles(conf.get("bundles") or "", [*folders, model_dir, BUNDLES_DIR])
        device = conf.get("device") or ("cuda" if torch.cuda.is_available() else "cpu")
        size, gigabytes = int(conf.get("cache_size") or 8), float(conf.get("cache_gb") or 4)
        self.served = {
            path.name: ServedModel(Bundle(path), model_dir / path.name, device, size, gigabytes)
            for path in paths
        }
        self.desk = Desk(self.served, rounds_folder(model_dir, studies))
        self.desk.configure(conf)
        labels = list(dict.fromkeys(k for m in self.served.values() for k in m.bundle.keywords))
        install_segment_names(labels)
        super().__init__(
            app_dir,
            studies,
            conf,
            name="ConceptSeg",
            description="Text-free segmentation that follows a concept prompt, a click or a box",
            version=next(iter(self.served.values())).bundle.version,
            labels=labels,
        )
        # a scoring process after every sample is more than a desk computer can bear unasked
        self._auto_update_scoring = read_flag("auto_scoring", conf.get("auto_scoring", False))

    def init_infers(self) -> dict[str, Any]:
        """An automatic and an interactive model per bundle, with shared encoded images."""
        tasks = {}
        for name, model in self.served.items():
            tasks[name] = AutomaticTask(model)
            tasks[name + INTERACTIVE_SUFFIX] = InteractiveTask(model)
        return tasks

    def init_trainers(self) -> dict[str, Any]:
        """One training task per bundle that has a train config."""
        tasks = {name: TrainingTask(model, self.labels) for name, model in self.served.items()}
        return {name: task for name, task in tasks.items() if task.is_valid()}

    def init_strategies(self) -> dict[str, Any]:
        """All registered strategies."""
        return {name: make(self.desk) for name, make in STRATEGIES.items()}

    def init_scoring_methods(self) -> dict[str, Any]:
        """Agreement with saved labels, and uncertainty."""
        return {"dice": DiceScore(self.served), "uncertainty": UncertaintyScore(self.served)}

    def init_batch_infer(self) -> ResumableBatch:
        """Batch inference that goes on where it stopped."""
        return ResumableBatch(self.served)

    def init_datastore(self):
        """A studies folder, or a DICOMweb server."""
        if self.studies.startswith(("http://", "https://")):
            return super().init_datastore()
        patterns = settings.MONAI_LABEL_DATASTORE_FILE_EXT
        default = type(settings).model_fields["MONAI_LABEL_DATASTORE_FILE_EXT"].default
        return StudiesFolder(
            self.studies,
            extensions=EXTENSIONS if patterns == default else patterns,
            auto_reload=settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD,
            read_only=settings.MONAI_LABEL_DATASTORE_READ_ONLY,
        )

    def _init_dicomweb_datastore(self):
        """MONAI Label's DICOMweb datastore with checked labels."""
        store = super()._init_dicomweb_datastore()
        if not isinstance(store._client, DICOMwebClientX):
            return store
        return StudiesServer.of(store)

    def _download_dcmqi_tools(self) -> None:
        """Find dcmqi, which writes DICOM SEG, beside the running Python; nothing is downloaded."""
        beside = str(Path(sys.executable).parent)
        if beside not in os.environ["PATH"].split(os.pathsep):
            os.environ["PATH"] += os.pathsep + beside
        if shutil.which("itkimage2segimage") is None:
            logger.warning(
                "itkimage2segimage is not on PATH, so final labels cannot be written as DICOM SEG;"
                " install it with: pip install dcmqi"
            )

    def infer(self, request: dict[str, Any], datastore=None) -> dict[str, Any]:
        """Run a model on an image of the studies, of a session or sent along."""
        model, image = request.get("model"), request.get("image")
        if model not in self._infers:
            raise unknown_name("model", model, self._infers)
        if not isinstance(image, str) or not image:
            raise bad_request(f"Expected 'image' as a name in the studies, got {image!r}.")
        store = datastore or self.datastore()
        self._check_image(image, store)
        path = image if os.path.isabs(image) else store.get_image_uri(image)
        keywords = self._infers[model].bundle.keywords
        answering.set(tuple(keywords))
        # saved below: MONAI Label would take a file of the same name in the working directory
        result = super().infer({**request, "image": path, "save_label": False}, store)
        if read_flag("save_label", request.get("save_label", False)) and path != image:
            tag = request.get("label_tag") or DefaultLabelTag.ORIGINAL
            info = {"model": model, "params": result["params"], "label_info": own_names(keywords)}
            if "batch_mark" in request:
                info["batch"] = request["batch_mark"]
            result["label"] = store.save_label(image, result["file"], tag, info)
        if datastore is None and path != image:
            self.desk.note_proposal(request, result)
        return result

    def next_sample(self, request: dict[str, Any]) -> dict[str, Any]:
        """The image to annotate next; who gets it may label it."""
        found = super().next_sample(request)
        store = self.datastore()
        if found and isinstance(store, StudiesFolder):
            store.uploads.opened(found["id"], request.get("client_id"))
        return found

    def on_save_label(self, image_id: str, label_id: str) -> dict[str, Any]:
        """Measure and record a saved label at once; the client gets its concepts."""
        try:
            return self.desk.label_saved(label_id, self.datastore())
        except Exception:  # the label itself is saved, and stays so
            logger.exception("the saved label of '%s' is not in the record", image_id)
            return {}

    def _check_image(self, image: str, datastore) -> None:
        """Refuse images that are neither in the studies nor sent by the client itself."""
        path = Path(image).resolve() if os.path.isabs(image) else None
        sessions = self.sessions()
        if path is not None and sessions is not None and path.exists():  # noqa: SIM102
            if path.is_relative_to(Path(sessions.store_path).resolve()):
                return
        sent = Path(tempfile.gettempdir()).resolve()
        if path is not None and path.parent == sent and path.name.startswith("tmp"):
            return  # the server's own copy of an uploaded file
        check_id("image", image)
        known = datastore.list_images()
        if image not in known and not (
            isinstance(datastore, StudiesServer) and datastore.has_series(image)
        ):
            raise unknown_name("image", image, known)

    def on_init_complete(self) -> None:
        """Called when the server runs: readable errors, checks, address; then the weights are loaded."""
        super().on_init_complete()
        prepare(lambda: self)
        install_rounds_page(self.desk)
        is_folder = not self.studies.startswith(("http://", "https://"))
        if read_flag("score_images", self.conf.get("score_images", is_folder)):
            self.desk.scores.start(self.datastore())
        if self._preload:
            load_all(self.served)
