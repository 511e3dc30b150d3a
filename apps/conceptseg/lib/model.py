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
from conceptseg.inferer import EncodedImage, Prediction
from conceptseg.network import ConceptSegNet
from conceptseg.slices import RAS_DIRECTIONS
from conceptseg.state import read_state
from conceptseg.uncertainty import uncertainty

from .bundle import Bundle
from .cache import OnceCache

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
        """Changes whenever the weights file does."""
        stat = self.weights.stat()
        return f"{stat.st_mtime_ns:x}-{stat.st_size:x}"

    def network(self) -> tuple[str, ConceptSegNet]:
        """Version and network of the newest weights.

        Raises:
            FileNotFoundError: there are no weights.
        """
        with self._lock:
            if not self.is_valid():
                raise FileNotFoundError(
                    f"Expected weights of '{self.bundle.name}' at '{self.weights}', got no file."
                    " Train the bundle, or copy its model.pt there."
                )
            version = self.version()
            if self._current is None or self._current[0] != version:
                before, self._current = self._current, self._load(version)
                if before not in (None, self._current):
                    self.cases.clear()  # they hold the network before, and nobody asks for them
            return self._current

    def _load(self, version: str) -> tuple[str, ConceptSegNet]:
        """Load the weights file; a damaged one is refused as long as older weights are there."""
        try:
            network = self.read_weights()
        except ValueError:
            if self._current is None:
                raise
            logger.error("'%s' is not usable, older weights go on", self.weights, exc_info=True)
            return self._current
        logger.info("loaded '%s' (version %s)", self.weights, version)
        return version, network.to(self.device).eval()

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
            ValueError, FileNotFoundError: the image is not usable or missing.
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
        try:
            with self._transforming:
                image = self.before({"image": path})["image"]
        except RuntimeError as error:  # MONAI wraps what a transform raises
            raise _root_of(error) from error
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
            prompts=plan.sentences,
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


def _root_of(error: BaseException) -> Exception:
    """The readable error at the bottom of a chain; a ValueError with its text otherwise."""
    root: BaseException = error
    while root.__cause__ is not None:
        root = root.__cause__
    if isinstance(root, (ValueError, FileNotFoundError, TypeError)):
        return root
    return ValueError(f"Expected a usable image, got an error while reading it: {root}")
