"""The model behind the tasks of one bundle: current weights, encoded images, decoded prompts."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor
from torch import Tensor

from conceptseg.guidance import PromptPlan, remarks_on_fit, restrict_to_prompt
from conceptseg.network import ConceptSegNet
from conceptseg.prediction import EncodedImage, Prediction
from conceptseg.slices import RAS_DIRECTIONS
from conceptseg.state import read_state
from conceptseg.uncertainty import uncertainty

from .bundle import Bundle
from .cache import OnceCache
from .faults import read_image
from .retries import Retries

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Case:
    """An image that was read, preprocessed and encoded.

    Attributes:
        image: (C, *spatial) on the network's grid, with the way back to its own.
        encoded: of `image`.
        network: the one that encoded it, and so must decode it.
        version: of its weights.
        seconds: spent on reading and encoding, "pre" and "encode".
        free: its text-free prediction, once there is one.
    """

    image: MetaTensor
    encoded: EncodedImage
    network: ConceptSegNet
    version: str
    seconds: dict[str, float]
    free: OnceCache = field(default_factory=lambda: OnceCache(1))


class ServedModel:
    """Serves a bundle's newest weights; new ones are picked up at the next request.

    Args:
        bundle: what is served.
        weights_dir: folder in which training puts better weights; they go before the bundle's own.
        device: torch device name.
        cache_size: encoded images kept.
        cache_gb: fewer are kept where they take more memory than this together, in GB.
    """

    def __init__(
        self,
        bundle: Bundle,
        weights_dir: Path,
        device: str = "cpu",
        cache_size: int = 8,
        cache_gb: float = 4.0,
    ) -> None:
        self.bundle = bundle
        self.weights_dir = weights_dir
        self.device = torch.device(device)
        self.inferer = bundle.build_inferer()
        self.before, self.after, self.cleaning = bundle.build_transforms()
        self.cases = OnceCache(cache_size, lambda case: case.encoded.nbytes, cache_gb * 1e9)
        self._current: tuple[str, ConceptSegNet] | None = None
        self._refused: tuple[str, str] | None = None  # version and error of an unusable file
        self._retries = Retries()  # the file may be good, and the computer short of memory
        self._lock = threading.Lock()
        # MONAI's inverse switches the tracing of its transforms off meanwhile, for all threads
        self._transforming = threading.Lock()

    @property
    def weights(self) -> Path:
        """File of the weights to serve."""
        trained = self.weights_dir / "model.pt"
        return trained if trained.is_file() else self.bundle.path / "models" / "model.pt"

    def is_valid(self) -> bool:
        """True when there are weights."""
        return self.weights.is_file()

    def version(self) -> str:
        """Version of the network that answers, which is that of its file.

        Raises:
            FileNotFoundError: there are no weights.
            ValueError: they are unusable, and there are no older ones.
        """
        return self.network()[0]

    def network(self) -> tuple[str, ConceptSegNet]:
        """Version and network of the newest usable weights.

        Raises:
            FileNotFoundError: there are no weights.
            ValueError: they are unusable, and there are no older ones.
        """
        with self._lock:
            if not self.is_valid():
                raise FileNotFoundError(
                    f"Expected weights of '{self.bundle.name}' at '{self.weights}', got no file."
                    " Train the bundle, or copy its model.pt there."
                )
            version = file_version(self.weights)
            if self._current is None or self._current[0] != version:
                self._take(version)
            return self._current

    def _take(self, version: str) -> None:
        """Load the weights file; an unusable one is refused, as long as older weights are there."""
        if self._refused is None or self._refused[0] != version or self._retries.is_due(version):
            try:
                network = self.read_weights().to(self.device).eval()
            except ValueError as error:
                pause = self._retries.failed(version)
                self._refused = version, str(error)
                logger.error("%s It is tried again in %.0f s.", error, pause, exc_info=True)
            else:
                self._current = version, network
                self.cases.clear()  # they hold the network before, and nobody asks for them
                logger.info("loaded '%s' (version %s)", self.weights, version)
                return
        if self._current is None:
            raise ValueError(self._refused[1])

    def read_weights(self) -> ConceptSegNet:
        """A new network with the weights of the file, on the CPU.

        Raises:
            ValueError: the file is damaged, or holds the weights of another network.
        """
        file = self.weights
        try:
            network = self.bundle.build_network()
            network.load_state_dict(read_state(file))
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(
                f"Expected weights that fit '{self.bundle.name}' in '{file}', got"
                f" {type(error).__name__} ({reason}). Restore the file or train again."
            ) from error
        return network

    def case(self, path: str) -> tuple[Case, bool]:
        """The encoded image at `path`, and whether it was at hand.

        Raises:
            UnusableImageError, FileNotFoundError: the image is not usable or missing.
            RuntimeError: it cannot be read now.
        """
        version, network = self.network()
        stat = Path(path).stat()
        key = (path, stat.st_mtime_ns, stat.st_size, version)
        case, cached = self.cases.get(key, lambda: self._encode(path, version, network))
        if self._current is not None and self._current[0] != version:  # new weights came meanwhile
            self.cases.forget(key)
        return case, cached

    def _encode(self, path: str, version: str, network: ConceptSegNet) -> Case:
        """Read, preprocess and encode."""
        start = time.perf_counter()
        with self._transforming:
            image = read_image(self.before, path)
        read = time.perf_counter()
        encoded = self.inferer.encode(image.to(self.device), network)
        seconds = {"pre": read - start, "encode": time.perf_counter() - read}
        return Case(image, encoded, network, version, seconds)

    def decode(
        self,
        case: Case,
        prompt: str | None = None,
        strength: float = 1.0,
        teachers: Sequence[Tensor] | None = None,
    ) -> Prediction:
        """Decode one prompt (or ready-made prompt embeddings); the case may be used again."""
        inferer = self.inferer.copy(prompt_strength=strength)
        return inferer.decode(case.encoded, case.network, prompt=prompt, teachers=teachers)

    def text_free(self, case: Case) -> Prediction:
        """Text-free prediction of a case; kept, as every click and every restriction needs it."""
        return case.free.get(case.network.presence_threshold, lambda: self.decode(case))[0]

    def uncertainty(self, case: Case) -> list[float]:
        """Uncertainty of the text-free mask of each label of a case; it takes a second encoding."""
        image = case.image.as_tensor().to(self.device)
        return uncertainty(image, self.text_free(case), case.network, self.inferer)

    def restricted(self, case: Case, plan: PromptPlan) -> Prediction:
        """The text-free prediction without the classes, sides and levels that a prompt leaves out."""
        free = self.text_free(case)
        directions = RAS_DIRECTIONS if self.bundle.dimension == 3 else None
        kept = restrict_to_prompt(free.probabilities, plan, directions)
        remarks = remarks_on_fit(plan, free.presence, free.probabilities, kept)
        return replace(
            free,
            probabilities=kept,
            asked=plan.asked,
            prompts=plan.understood,
            warnings=plan.warnings + free.warnings + remarks,
        )

    def to_original(self, case: Case, probabilities: Tensor) -> MetaTensor:
        """Label map (*spatial) uint8 on the image's own grid of (K, *spatial) probabilities."""
        background = 1 - probabilities.amax(dim=0, keepdim=True)
        image = case.image.clone()
        pred = MetaTensor(
            torch.cat([background, probabilities]).cpu(),
            meta=image.meta,
            applied_operations=image.applied_operations,
        )
        with self._transforming:
            restored = self.after({"image": image, "pred": pred})["pred"][0]
        return restored.round().to(torch.uint8)

    def clean(self, mask: np.ndarray) -> np.ndarray:
        """The label map (*spatial) cleaned as the bundle does, such as one connected part per label.

        Not for masks from clicks: whoever clicks on two parts wants both.
        """
        cleaned = self.cleaning({"pred": MetaTensor(torch.as_tensor(mask)[None])})["pred"][0]
        return np.asarray(cleaned).round().astype(mask.dtype)

    def voxel_map(self, case: Case) -> np.ndarray:
        """(4, 4) matrix from voxel indices of the image file to those of the network's grid."""
        original = np.asarray(case.image.meta["original_affine"], dtype=np.float64)
        return np.linalg.solve(np.asarray(case.image.affine, dtype=np.float64), original)


def load_all(served: Mapping[str, ServedModel]) -> None:
    """Load the weights of every bundle; one whose weights do not fit leaves the others served."""
    for name, model in served.items():
        if not model.is_valid():
            logger.warning("'%s' has no weights yet: train it from a client", name)
            continue
        try:
            model.network()
        except Exception as error:
            logger.error("'%s' cannot answer until its weights are replaced: %s", name, error)


def file_version(path: Path) -> str:
    """Version of a file of weights: another one whenever it is written, the same where it is moved."""
    stat = path.stat()
    return f"{stat.st_mtime_ns:x}-{stat.st_size:x}"
