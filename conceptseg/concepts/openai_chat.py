"""A multimodal model behind an OpenAI-compatible server (vLLM, Ollama, llama.cpp, hosted ones)."""

from __future__ import annotations

import base64
import ipaddress
import logging
import os
import socket
from typing import Any
from urllib.parse import urlsplit

from PIL import Image

from ..overlay import png_bytes
from .chat import ModelError, ServerDownError, Turn
from .questions import Question

logger = logging.getLogger(__name__)
# A probe's question pulls away from its list, so that only an enforced schema keeps to it.
_PROBE_LIST = {"word": ("zebra", "quartz", "violin")}
_PROBE_WORDS = "Reply with exactly this text and nothing else: HELLO"


def is_loopback(url: str) -> bool:
    """Whether every address of the URL's host is this machine."""
    host = urlsplit(url).hostname or ""
    try:
        addresses = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return bool(addresses) and all(
        ipaddress.ip_address(a.split("%")[0]).is_loopback for a in addresses
    )


class OpenAIChat:
    """Asks through the official client; safe to use from several threads.

    The client itself retries with growing pauses after time-outs, broken connections and the answers
    408, 409, 429 and 5xx, and heeds Retry-After; a body that is no chat completion is asked for again at
    once. Redirects are not followed and, for a server on this
    machine, proxies are not used: pixels go to the address given and nowhere else.

    Args:
        model: name of the model; None: from the environment, OPENAI_MODEL.
        base_url: such as http://127.0.0.1:8000/v1; None: from OPENAI_BASE_URL.
        api_key: None: from OPENAI_API_KEY; servers on this machine need none.
        allow_remote: send pixels to an address that is not this machine.
        timeout: seconds without a sign of the server until a request counts as lost.
        max_retries: of a request that got no answer.
        max_tokens: of an answer.

    Raises:
        ValueError: no model, no URL, or a remote address without the switch.
        ModuleNotFoundError: the extra is not installed.
    """

    def __init__(
        self,
        model: str | None = None,
        base_url: str | None = None,
        api_key: str | None = None,
        allow_remote: bool = False,
        timeout: float = 60.0,
        max_retries: int = 4,
        max_tokens: int = 300,
    ) -> None:
        try:
            import openai
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "expected the openai client, which is not installed; pip install 'conceptseg[lmm]'"
            ) from error
        url = base_url or os.environ.get("OPENAI_BASE_URL")
        self.name = model or os.environ.get("OPENAI_MODEL") or ""
        if not url or not self.name:
            raise ValueError(
                f"expected a server and a model, got {url!r} and {self.name!r}; give base_url and"
                " model, or set OPENAI_BASE_URL and OPENAI_MODEL"
            )
        if not isinstance(allow_remote, bool):  # "false" of a command line would count as true
            raise ValueError(
                f"expected allow_remote to be True or False, got {allow_remote!r}; write it with a capital"
            )
        self.is_remote = not is_loopback(url)
        if self.is_remote and not allow_remote:
            raise ValueError(
                f"expected a server on this machine, got {urlsplit(url).netloc}; pixels would leave it."
                " Set allow_remote to True if they may (look for burned-in text first)"
            )
        self.errors = openai
        self.max_tokens = max_tokens
        self.formats_answers = True  # the server accepts response_format
        self.client = openai.OpenAI(
            base_url=url,
            api_key=api_key or os.environ.get("OPENAI_API_KEY") or "none",
            timeout=timeout,
            max_retries=max_retries,
            http_client=openai.DefaultHttpxClient(
                trust_env=self.is_remote, follow_redirects=False, timeout=timeout
            ),
        )

    def ask(self, picture: Image.Image, question: Question, earlier: tuple[Turn, ...] = ()) -> str:
        """See `Chat.ask`."""
        data = base64.b64encode(png_bytes(picture)).decode("ascii")
        shown = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
        messages = [{"role": "user", "content": [shown, {"type": "text", "text": question.text}]}]
        for turn in earlier:
            messages.append({"role": "assistant", "content": turn.answer or "(empty)"})
            messages.append({"role": "user", "content": turn.complaint()})
        return self._complete(messages, question.schema)

    def _complete(self, messages: list[dict], schema: dict) -> str:
        """One completion; every error as a `ModelError` with its reason."""
        errors = self.errors
        options: dict[str, Any] = {"model": self.name, "temperature": 0.0}
        options |= {"max_tokens": self.max_tokens, "messages": messages}
        if self.formats_answers:
            form = {"name": "answer", "schema": schema, "strict": True}
            options["response_format"] = {"type": "json_schema", "json_schema": form}
        for left in reversed(range(self.client.max_retries + 1)):
            try:
                completion = self.client.chat.completions.create(**options)
                return completion.choices[0].message.content or ""
            except errors.OpenAIError as error:  # retried by the client already
                raise self._explained(error) from error
            except (AttributeError, IndexError, TypeError, ValueError) as error:
                # a body that is no chat completion, such as a proxy's page, comes as any of these
                if not left:
                    name = type(error).__name__
                    raise ModelError(f"no chat completion came back ({name})") from error
        raise AssertionError("the loop ends in an answer or an error")

    def _explained(self, error: Exception) -> ModelError:
        """An error of the client in one sentence."""
        errors = self.errors
        if isinstance(error, errors.APITimeoutError):
            return ModelError(f"no answer within {self.client.timeout} s")
        if isinstance(error, errors.APIConnectionError):
            cause = error.__cause__ or error
            kind = ServerDownError if "refused" in str(cause).lower() else ModelError
            return kind(f"connection failed ({type(cause).__name__}: {cause})")
        if isinstance(error, errors.APIStatusError):
            kind = ServerDownError if error.status_code in (401, 403, 404) else ModelError
            return kind(f"HTTP status {error.status_code}: {str(error.message)[:200]}")
        return ModelError(f"no chat completion came back ({type(error).__name__})")

    def enforces_schema(self) -> bool:
        """Ask for a word outside a schema and see whether one of the schema comes back.

        A server that refuses `response_format` is asked without it from then on.

        Raises:
            ModelError: the server does not answer at all.
        """
        question = Question("region", _PROBE_LIST, allow_unclear=False)
        messages = [{"role": "user", "content": _PROBE_WORDS}]
        try:
            answer = self._complete(messages, question.schema)
        except ModelError as error:
            if "status 400" not in str(error) and "status 422" not in str(error):
                raise
            self.formats_answers = False
            self._complete(messages, question.schema)
            return False
        try:
            return bool(question.model.model_validate_json(answer.strip()))
        except ValueError:
            return False
