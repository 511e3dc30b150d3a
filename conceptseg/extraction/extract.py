"""The command: describe every label of a data set, many requests in flight, resumable."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from monai.data import Dataset
from tqdm import tqdm

from ..atomic import write_text_atomic
from ..concepts.asked import FusedConcepts, ModelConcepts
from ..concepts.chat import Chat, ServerDownError
from ..concepts.described import Answer, described
from ..concepts.source import ConceptSource
from ..datalist_layouts import SECTIONS, read_layout
from ..datalist_split import base_dir
from ..errors import root_cause
from ..grid import directions_of, spacing_of
from .records import AnswerLine, ConceptLine, FailureLine
from .store import ConceptFile
from .summary import summarize, summary_text

logger = logging.getLogger(__name__)
SERVER_DOWN_LIMIT = 5  # failures to reach the server, one after the other, that end a run
FAILURE_LIMIT = 25  # failures of any kind in a row that end it: the rest would fail as well


def labelled_cases(dataset_dir: str | os.PathLike) -> list[dict[str, Any]]:
    """All cases of a data set that have a mask, whatever their section.

    Raises:
        ValueError: none.
    """
    sections = read_layout(Path(dataset_dir))
    cases = [case for name in SECTIONS for case in sections[name] if "label" in case]
    if not cases:
        raise ValueError(
            f"expected cases with masks in '{dataset_dir}', got none; concepts describe what a mask marks"
        )
    return cases


def default_output(dataset_dir: str | os.PathLike) -> str:
    """The concept file beside the data."""
    return str(base_dir(Path(dataset_dir)) / "concepts.jsonl")


def chat_of(source: ConceptSource) -> Chat | None:
    """The model that a source asks, if any."""
    source = source.model if isinstance(source, FusedConcepts) else source
    return source.chat if isinstance(source, ModelConcepts) else None


class ConceptExtraction:
    """Describes the labels of a data set and appends what it learns to a concept file.

    A label that is described there with the same settings is passed over, an answer that arrived before
    a kill is used, a failure is tried again.

    Args:
        dataset: gives "image" and "label" of a case; its data hold the "image" path.
        dataset_dir: folder that the file names are relative to.
        source: what describes; any `ConceptSource`.
        keywords: one per label value 1..K.
        output_file: JSONL.
        in_flight: cases worked on at a time, and so requests.
    """

    def __init__(
        self,
        dataset: Dataset,
        dataset_dir: str | os.PathLike,
        source: ConceptSource,
        keywords: Sequence[str],
        output_file: str | os.PathLike,
        in_flight: int = 8,
    ) -> None:
        if in_flight < 1:
            raise ValueError(f"expected at least one request in flight, got {in_flight}")
        self.dataset = dataset
        self.root = base_dir(Path(dataset_dir))
        self.source = source
        self.keywords = tuple(keywords)
        self.output_file = Path(output_file)
        self.in_flight = in_flight
        self._lock = Lock()
        self._failures = 0  # in a row

    def run(self) -> dict[str, Any]:
        """Describe what is not yet described.

        Returns:
            The summary (`summarize`), which also lies beside the concept file.

        Raises:
            RuntimeError: too many failures in a row; what was done is kept.
        """
        chat = chat_of(self.source)
        if chat is not None:
            probe(chat)
        with ConceptFile(self.output_file) as file:
            total = len(self.dataset) * len(self.keywords)
            jobs = list(self._jobs(file))
            left = sum(len(keywords) for _, keywords in jobs)
            logger.info("%d of %d labels are described in '%s'.", total - left, total, file.path)
            with tqdm(total=total, initial=total - left, desc="concepts", unit="label") as bar:
                stopped = self._work(file, jobs, bar)
        summary = summarize(self.output_file)
        path = self.output_file.with_suffix(".summary.json")
        write_text_atomic(path, json.dumps(summary, indent=1) + "\n")
        logger.info("%s", summary_text(summary))
        if stopped:
            raise RuntimeError(
                f"too many failures in a row, the last: {stopped}. What was described is kept; run the"
                " same command again when the server is well"
            )
        return summary

    def _jobs(self, file: ConceptFile) -> Iterator[tuple[int, list[str]]]:
        """Index of a case and its keywords that are still to be described."""
        settings = {keyword: self._settings(keyword) for keyword in self.keywords}
        for i, case in enumerate(self.dataset.data):
            name = self._case(case)
            todo = [k for k in self.keywords if file.described.get((name, k)) != settings[k]]
            if todo:
                yield i, todo

    def _work(self, file: ConceptFile, jobs: Sequence[tuple[int, list[str]]], bar: tqdm) -> str:
        """Do the jobs; the reason why they were stopped, or ""."""
        waiting: set[Future] = set()
        stopped = ""
        pool = ThreadPoolExecutor(self.in_flight)
        try:
            for job in jobs:
                # no more futures than needed to keep all workers busy, so that memory stays flat
                if len(waiting) >= 2 * self.in_flight:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    stopped = next(filter(None, (future.result() for future in done)), "")
                    if stopped:
                        break
                waiting.add(pool.submit(self._describe_case, file, *job, bar))
            else:
                stopped = next(filter(None, (future.result() for future in waiting)), "")
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return stopped

    def _describe_case(self, file: ConceptFile, index: int, keywords: list[str], bar: tqdm) -> str:
        """Describe the labels of one case; the reason to stop the run, or ""."""
        case, stop = self._case(self.dataset.data[index]), ""
        try:
            data = self.dataset[index]
        except Exception as error:
            reason = f"not read: {root_cause(error)}"
            for keyword in keywords:
                file.append(FailureLine(case=case, keyword=keyword, reason=reason))
            bar.update(len(keywords))
            return ""
        for keyword in keywords:
            error = None
            try:
                file.append(self._line(file, case, keyword, data))
            except Exception as caught:  # of one label: the others go on
                error = caught
                reason = str(error) or type(error).__name__
                file.append(FailureLine(case=case, keyword=keyword, reason=reason))
            stop = self._count_failure(error) or stop
            bar.update()
        return stop

    def _line(self, file: ConceptFile, case: str, keyword: str, data: dict) -> ConceptLine:
        """The described label."""
        image = data["image"]
        mask = np.asarray(data["label"])[0] == self.keywords.index(keyword) + 1
        place = (np.asarray(image), mask, keyword, directions_of(image), spacing_of(image))
        if isinstance(self.source, (ModelConcepts, FusedConcepts)):

            def keep(answer: Answer) -> None:
                file.append(AnswerLine(case=case, keyword=keyword, answer=answer))

            known = tuple(file.answers.get((case, keyword), ()))
            description = self.source.describe(*place, known, keep)
        else:
            description = described(self.source(*place))
        return ConceptLine(
            case=case,
            keyword=keyword,
            description=description,
            fraction=float(mask.mean()),
            settings=self._settings(keyword),
        )

    def _count_failure(self, error: Exception | None) -> str:
        """Note a success or a failure; the reason to stop after too many in a row, or ""."""
        with self._lock:
            self._failures = self._failures + 1 if error else 0
            limit = SERVER_DOWN_LIMIT if isinstance(error, ServerDownError) else FAILURE_LIMIT
            return str(error) if self._failures >= limit else ""

    def _settings(self, keyword: str) -> str:
        """Hash of the source's settings."""
        settings = getattr(self.source, "settings", None)
        return settings(keyword) if settings else type(self.source).__name__

    def _case(self, case: dict[str, Any]) -> str:
        """Name of a case in the file: its image's path below the data set's folder."""
        path = Path(str(case["image"])).absolute()
        inside = path.is_relative_to(self.root)
        return path.relative_to(self.root).as_posix() if inside else path.as_posix()


def probe(chat: Chat) -> bool:
    """Say whether the model's answers can leave the schema, and where pixels go."""
    enforced = chat.enforces_schema()
    if enforced:
        logger.info("%s: answers keep to the schema (probed).", chat.name)
    else:
        logger.warning(
            "%s: the server does not enforce the schema (probed); every answer is validated and asked"
            " for again where it is not valid.",
            chat.name,
        )
    if getattr(chat, "is_remote", False):
        logger.warning(
            "pictures are sent to another machine. Only pixels are sent, no name and no metadata, but"
            " text burned into the pixels goes along."
        )
    return enforced
