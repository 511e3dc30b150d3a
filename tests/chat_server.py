"""A server on loopback that speaks the OpenAI chat-completions form, and can misbehave.

It "sees" nothing: each answer follows from a hash of the picture, so that it is known in advance.
As a program (`python tests/chat_server.py --delay 0.05`) it prints its port, serves until its standard
input ends, and prints the number of requests.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LIST_LINE = re.compile(r'^- "(\w+)" \(.*?\): (.+)$', re.MULTILINE)
FAULTS = (
    "ignores_schema", "fenced", "garbage", "429", "500", "hang", "close", "html", "no_choices",
    "refuses_format",
)  # fmt: skip


def words_of(text: str, picture: str) -> dict[str, str]:
    """The answer to a question about a picture: a word of each list, by hash."""
    lists = {name: words.split(", ") for name, words in LIST_LINE.findall(text)}
    digest = hashlib.sha256(picture.encode()).digest()
    return {n: w[digest[i] % len(w)] for i, (n, w) in enumerate(lists.items())}


class ChatServer(ThreadingHTTPServer):
    """Serves on a free port in a thread of its own while used as a context.

    Args:
        fault: (number of the request from 0, its body) -> a name out of `FAULTS`, or None to answer well;
            may wait. "hang" lasts until the context ends.
        delay: seconds that every good answer takes.
        capacity: answers worked on at a time, others wait; 0: no limit.

    Attributes:
        count: requests so far, the probe's included.
        bodies: of the requests, with `keep_bodies`.
        most_at_once: largest number of requests in the server at a time.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        fault: Callable[[int, dict], str | None] = lambda number, body: None,
        delay: float = 0.0,
        capacity: int = 0,
        keep_bodies: bool = True,
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fault, self.delay, self.keep_bodies = fault, delay, keep_bodies
        self.slots = threading.Semaphore(capacity) if capacity else None
        self.count = self.at_once = self.most_at_once = 0
        self.bodies: list[dict] = []
        self.headers: list[dict] = []
        self.lock = threading.Lock()
        self.released = threading.Event()

    @property
    def url(self) -> str:
        """Base URL for a client."""
        return f"http://127.0.0.1:{self.server_port}/v1"

    def __enter__(self) -> ChatServer:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.released.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address) -> None:
        """Clients that were killed or gave up are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """One chat completion, or the fault."""
        server: ChatServer = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            number, server.count = server.count, server.count + 1
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
            if server.keep_bodies:
                server.bodies.append(body)
                server.headers.append({k.lower(): v for k, v in self.headers.items()})
        try:
            self._respond(server.fault(number, body), body)
        finally:
            with server.lock:
                server.at_once -= 1

    def _respond(self, fault: str | None, body: dict) -> None:
        server: ChatServer = self.server
        if fault == "hang":
            server.released.wait()
        if fault in ("hang", "close"):
            self.close_connection = True
            self.connection.close()
            return
        if fault in ("429", "500") or (fault == "refuses_format" and "response_format" in body):
            status = int(fault) if fault.isdecimal() else 400
            self._send(status, json.dumps({"error": {"message": f"injected {fault}"}}))
            return
        if server.slots:
            with server.slots:
                time.sleep(server.delay)
        elif server.delay:
            time.sleep(server.delay)
        if fault == "html":
            self._send(200, "<html>It works!</html>", "text/html")
            return
        message = {"role": "assistant", "content": _content(fault, body)}
        choices = (
            []
            if fault == "no_choices"
            else [{"index": 0, "message": message, "finish_reason": "stop"}]
        )
        answer = {"id": "x", "object": "chat.completion", "created": 0, "model": body["model"]}
        self._send(200, json.dumps(answer | {"choices": choices}))

    def _send(self, status: int, text: str, kind: str = "application/json") -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        if status == 429:
            self.send_header("retry-after-ms", "20")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        """Quiet."""


def _content(fault: str | None, body: dict) -> str:
    """Text of the assistant's message."""
    first, asked_again = body["messages"][0]["content"], len(body["messages"]) > 1
    if fault == "garbage":
        return "%%% {{ not json"
    if isinstance(first, str):  # the probe has no picture
        if fault in ("ignores_schema", "fenced", "refuses_format"):
            return "HELLO"
        schema = body["response_format"]["json_schema"]["schema"]["properties"]
        return json.dumps({name: value["enum"][0] for name, value in schema.items()})
    picture = next(part["image_url"]["url"] for part in first if part["type"] == "image_url")
    words = words_of(next(part["text"] for part in first if part["type"] == "text"), picture)
    if fault == "ignores_schema" and not asked_again:
        return json.dumps(words | {next(iter(words)): "indescribable", "note": "lovely"})
    if fault == "fenced":
        return (
            f"Of course! Here it is:\n```json\n{json.dumps(words, indent=1)}\n```\nAnything else?"
        )
    return json.dumps(words)


def main() -> None:
    """Serve until the standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--delay", type=float, default=0.0, help="seconds per answer (default 0)")
    parser.add_argument("--capacity", type=int, default=0, help="answers at a time (default: any)")
    parser.add_argument(
        "--fault", choices=FAULTS, help="of requests after the first (default none)"
    )
    parser.add_argument("--every", type=int, default=1, help="fault of every N-th (default 1)")
    options = parser.parse_args()

    def fault(number: int, body: dict) -> str | None:
        return options.fault if number and number % options.every == 0 else None

    with ChatServer(fault, options.delay, options.capacity, keep_bodies=False) as server:
        print(server.server_port, flush=True)
        sys.stdin.read()
        print(server.count)


if __name__ == "__main__":
    main()
