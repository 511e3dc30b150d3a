"""A multimodal model in this process: any image-text-to-text model of transformers."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any

import torch
from PIL import Image

from .chat import ModelError, Turn
from .questions import Question


class TransformersChat:
    """Asks a model of transformers; its answers cannot leave the schema.

    Generation is greedy and confined: the text of the JSON object is given, and only between the words
    of each list the model chooses. Requests are answered one at a time.

    Args:
        model: local folder or hub id.
        device: such as "cpu" or "cuda:0"; None: a GPU if there is one.
        dtype: such as "float32" or "bfloat16"; "auto": as stored.
        local_files_only: True never downloads.

    Raises:
        FileNotFoundError: no such model here.
    """

    def __init__(
        self,
        model: str,
        device: str | None = None,
        dtype: str = "auto",
        local_files_only: bool = True,
    ) -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        self.name = str(model)
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        options: dict[str, Any] = {"local_files_only": local_files_only}
        try:
            self.processor = AutoProcessor.from_pretrained(model, **options)
            self.model = AutoModelForImageTextToText.from_pretrained(model, dtype=dtype, **options)
        except OSError as error:
            raise FileNotFoundError(
                f"expected an image-text-to-text model at {self.name!r}, found none here; give a folder"
                " that save_pretrained wrote, or allow downloads with local_files_only False"
            ) from error
        self.model.to(self.device).eval()
        self._lock = Lock()

    @torch.inference_mode()
    def ask(self, picture: Image.Image, question: Question, earlier: tuple[Turn, ...] = ()) -> str:
        """See `Chat.ask`."""
        content = [{"type": "image"}, {"type": "text", "text": question.text}]
        messages: list[dict] = [{"role": "user", "content": content}]
        for turn in earlier:
            for role, text in (("assistant", turn.answer), ("user", turn.complaint())):
                messages.append({"role": role, "content": [{"type": "text", "text": text}]})
        with self._lock:
            try:
                return self._generate(picture, messages, question)
            except (RuntimeError, ValueError, IndexError) as error:
                raise ModelError(f"{type(error).__name__}: {str(error)[:200]}") from error

    def _generate(self, picture: Image.Image, messages: list[dict], question: Question) -> str:
        """Text of the answer."""
        prompt = self.processor.apply_chat_template(messages, add_generation_prompt=True)
        inputs = self.processor(text=prompt, images=[picture], return_tensors="pt")
        inputs = inputs.to(self.device, self.model.dtype)
        start = inputs["input_ids"].shape[1]
        tokenizer = self.processor.tokenizer
        form = AnswerForm(tokenizer, question.lists, start)
        output = self.model.generate(
            **inputs,
            max_new_tokens=form.longest + 1,
            do_sample=False,
            prefix_allowed_tokens_fn=form,
            pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id,
            eos_token_id=form.end,
        )
        return tokenizer.decode(output[0, start:], skip_special_tokens=True).strip()

    def enforces_schema(self) -> bool:
        """Yes, by the way it generates."""
        return True


class AnswerForm:
    """Which tokens may follow: those of the JSON text, and between list words the model's choice.

    Args:
        tokenizer: of the model.
        lists: attribute -> words.
        start: length of the prompt in tokens.

    Attributes:
        longest: tokens of the longest answer.
        end: id that ends the answer.
    """

    def __init__(self, tokenizer: Any, lists: dict[str, Sequence[str]], start: int) -> None:
        self.start = start
        self.end = tokenizer.eos_token_id

        def ids(text: str) -> tuple[int, ...]:
            return tuple(tokenizer.encode(text, add_special_tokens=False))

        # one part for each place: the token sequences that may stand there
        self.parts: list[set[tuple[int, ...]]] = []
        for i, (name, words) in enumerate(lists.items()):
            self.parts.append({ids(("{" if i == 0 else '", ') + f'"{name}": "')})
            self.parts.append({ids(word) for word in words})
        self.parts.append({ids('"}')})
        self.longest = sum(max(map(len, part)) for part in self.parts)

    def __call__(self, batch: int, tokens: torch.Tensor) -> list[int]:
        """Ids allowed after `tokens` (L,), prompt and answer so far."""
        return sorted(self._after(tuple(tokens[self.start :].tolist()), 0))

    def _after(self, said: tuple[int, ...], part: int) -> set[int]:
        """Ids allowed after `said`, which begins at a part; a word may begin another one."""
        if part == len(self.parts):
            return {self.end}
        allowed: set[int] = set()
        for form in self.parts[part]:
            if len(said) < len(form) and form[: len(said)] == said:
                allowed.add(form[len(said)])
            elif said[: len(form)] == form:
                allowed |= self._after(said[len(form) :], part + 1)
        return allowed
