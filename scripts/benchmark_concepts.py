"""Measure concept extraction against a server on this machine: throughput, memory, and faults.

    python scripts/benchmark_concepts.py --crops 10000

The server (tests/chat_server.py, a process of its own) takes a fixed time per answer and works on a fixed
number at a time, so that its own limit is known; the client should come close to it.
"""

from __future__ import annotations

import argparse
import logging
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from conceptseg.concepts.asked import FusedConcepts, ModelConcepts
from conceptseg.concepts.descriptors import questions_of
from conceptseg.concepts.openai_chat import OpenAIChat
from conceptseg.extraction.extract import ConceptExtraction
from conceptseg.extraction.store import load_concepts
from conceptseg.extraction.summary import summarize

SERVER = Path(__file__).resolve().parents[1] / "tests" / "chat_server.py"
FAULTS = (
    "ignores_schema", "fenced", "garbage", "429", "500", "hang", "close", "html", "no_choices",
)  # fmt: skip
SIZE = 96  # pixels of a generated image


class Server:
    """The server in a process of its own while used as a context.

    Args:
        options: of tests/chat_server.py.

    Attributes:
        url: base URL for a client.
        requests: number of them, the probe's included; afterwards.
    """

    def __init__(self, **options: object) -> None:
        self.command = [sys.executable, str(SERVER), *(f"--{k}={v}" for k, v in options.items())]

    def __enter__(self) -> Server:
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}/v1"
        return self

    def __exit__(self, *error: object) -> None:
        self.requests = int(self.process.communicate()[0])


class Crops:
    """Generated images with one region each."""

    def __init__(self, count: int) -> None:
        self.data = [{"image": f"/crops/{i}.png"} for i in range(count)]

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> dict:
        random = np.random.default_rng(index)
        label = np.zeros((1, SIZE, SIZE), dtype=np.uint8)
        x, y = random.integers(8, SIZE - 32, 2)
        label[0, x : x + 24, y : y + 20] = 1
        image = random.integers(0, 255, (3, SIZE // 8, SIZE // 8), dtype=np.uint8)
        return {"image": image.repeat(8, axis=1).repeat(8, axis=2), "label": label}


def main() -> int:
    """Both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--crops", type=int, default=10000, help="with most in flight (default 10000)"
    )
    parser.add_argument("--delay", type=float, default=0.4, help="seconds per answer (default 0.4)")
    parser.add_argument("--capacity", type=int, default=16, help="answers at a time (default 16)")
    parser.add_argument("--in-flight", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--only", choices=["throughput", "faults"], help="one of the two")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    if options.only != "faults":
        throughput(options)
    if options.only != "throughput":
        faults()
    return 0


def throughput(options: argparse.Namespace) -> None:
    """Requests per second and memory, one view per crop."""
    with Server(delay=options.delay, capacity=options.capacity) as server:
        print(
            "in flight | crops | crops/s | server's limit/s | our CPU ms per crop | MiB after 10, 50, 100 %",
            flush=True,
        )
        for in_flight in options.in_flight:
            limit = min(in_flight, options.capacity) / options.delay
            most = in_flight == max(options.in_flight)
            count = options.crops if most else min(options.crops, round(30 * limit))
            used = time.process_time()
            seconds, memory = run_once(server.url, count, in_flight)
            used = 1000 * (time.process_time() - used) / count
            row = f"{in_flight} | {count} | {count / seconds:.1f} | {limit:.1f} | {used:.0f} | "
            print(row + ", ".join(f"{m:.0f}" for m in memory), flush=True)


def run_once(url: str, count: int, in_flight: int) -> tuple[float, list[float]]:
    """Seconds, and resident memory in MiB after 10, 50 and 100 % of the crops."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "concepts.jsonl"
        extraction = ConceptExtraction(
            Crops(count), "/crops", source(url, ["crop"]), ["region"], output, in_flight
        )
        memory: list[float] = []
        stop = threading.Event()

        def watch() -> None:
            marks = [0.1, 0.5, 1.0]
            while marks and not stop.wait(0.05):
                done = output.read_bytes().count(b'"kind":"concepts"') if output.exists() else 0
                if done >= marks[0] * count:
                    memory.append(resident_mib())
                    marks.pop(0)
                stop.wait(2 if count > 500 else 0.2)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        start = time.monotonic()
        summary = extraction.run()
        seconds = time.monotonic() - start
        stop.set()
        watcher.join()
        if summary["described"] != count or summary["failed"]:
            raise RuntimeError(f"expected {count} described, got {summary['described']}")
        return seconds, memory if len(memory) == 3 else [*memory, resident_mib()]


def resident_mib() -> float:
    """Resident memory of this process."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def source(url: str, views: list[str], **options) -> FusedConcepts:
    """Fused concepts from the server at `url`."""
    chat = OpenAIChat("tiny", url, **options)
    return FusedConcepts(ModelConcepts(chat, questions_of("endoscopy"), views))


def faults() -> None:
    """What each fault leads to: on 20 crops, every third request at fault, then a good server."""
    print("fault | described | failed | requests | after a second run | first reason", flush=True)
    for fault in FAULTS:
        for every in (3, 1):
            with tempfile.TemporaryDirectory() as folder:
                output = Path(folder) / "concepts.jsonl"
                with Server(fault=fault, every=every) as server:
                    first = attempt(server.url, output)
                with Server() as good:
                    second = attempt(good.url, output)
                reason = first["failures"][0]["reason"][:90] if first["failures"] else ""
                name = f"{fault}, {'always' if every == 1 else 'every third request'}"
                requests = server.requests - 1  # without the probe
                whole = f"{second['described']} of 20, {len(load_concepts(output))} kept"
                print(
                    f"{name} | {first['described']} | {first['failed']} | {requests} | {whole} | {reason}",
                    flush=True,
                )


def attempt(url: str, output: Path) -> dict:
    """One extraction of 20 crops with short time-outs; its summary, also where it stopped early."""
    what = source(url, ["crop", "outline"], timeout=0.7, max_retries=1)
    extraction = ConceptExtraction(Crops(20), "/crops", what, ["region"], output, 8)
    try:
        return extraction.run()
    except RuntimeError:
        return summarize(output)


if __name__ == "__main__":
    sys.exit(main())
