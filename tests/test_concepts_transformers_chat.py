"""The in-process source, with a real (tiny, random) LLaVA: whatever it thinks, its answers fit the lists."""

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_llava import save_tiny_llava

from conceptseg.concepts.asked import FusedConcepts, ModelConcepts
from conceptseg.concepts.chat import Turn
from conceptseg.concepts.descriptors import questions_of
from conceptseg.concepts.questions import Question
from conceptseg.concepts.transformers_chat import AnswerForm, TransformersChat

LISTS = questions_of("endoscopy")


@pytest.fixture(scope="module")
def chat(tmp_path_factory) -> TransformersChat:
    folder = tmp_path_factory.mktemp("model")
    return TransformersChat(
        save_tiny_llava(folder, [Question("polyp", LISTS).text]), "cpu", "float32"
    )


def pictures(count: int) -> list[Image.Image]:
    random = np.random.default_rng(0)
    return [
        Image.fromarray(random.integers(0, 255, (40, 30, 3), dtype=np.uint8)) for _ in range(count)
    ]


def test_answers_of_a_random_model_are_valid_and_repeatable(chat):
    question = Question("polyp", LISTS)
    assert chat.enforces_schema()
    for picture in pictures(2):
        answer = chat.ask(picture, question)
        assert set(question.read(answer)) == set(LISTS)
        assert chat.ask(picture, question) == answer


def test_the_model_and_not_the_form_chooses_the_words(chat):
    question = Question("polyp", {"color": ("red", "pink")}, allow_unclear=False)
    head = chat.model.lm_head.weight
    words = {word: chat.processor.tokenizer.encode(word)[0] for word in ("red", "pink")}
    assert words["red"] != words["pink"]
    before = head.detach().clone()
    answers = {}
    for word, other in (("red", "pink"), ("pink", "red")):
        with torch.no_grad():  # the logit of one first token is the other's negative
            head[words[word]] = 1.0
            head[words[other]] = -1.0
            answers[word] = chat.ask(pictures(1)[0], question)
    with torch.no_grad():
        head.copy_(before)
    assert len(set(answers.values())) == 2


def test_it_can_be_asked_again_with_the_earlier_answer(chat):
    question = Question("polyp", LISTS)
    answer = chat.ask(pictures(1)[0], question, (Turn("{}", "color: field required"),))
    assert question.read(answer)


def test_it_serves_as_a_source_beside_the_measured_concepts(chat):
    mask = np.zeros((40, 30), dtype=bool)
    mask[5:12, 20:28] = True
    image = np.random.default_rng(1).integers(0, 255, (3, 40, 30), dtype=np.uint8)
    source = FusedConcepts(ModelConcepts(chat, LISTS))
    found = source.describe(image, mask, "polyp", ("right", "bottom"))
    assert found.concepts().location == "bottom left"
    assert set(found.values) >= {"texture", "margin", "pattern"}
    assert all(a.model == chat.name and a.raw.startswith("{") for a in found.answers)


def test_a_word_that_begins_another_can_be_followed_by_either():
    class Letters:
        eos_token_id = 0

        def encode(self, text, add_special_tokens=False):
            return [ord(c) for c in text]

    form = AnswerForm(Letters(), {"a": ("no", "nodular")}, 2)
    said = [9, 9, *(ord(c) for c in '{"a": "no')]
    assert {chr(i) for i in form(0, torch.tensor(said))} == {"d", '"'}
    done = torch.tensor([9, 9, *(ord(c) for c in '{"a": "no"}')])
    assert form(0, done) == [0] and form.longest == len('{"a": "nodular"}')


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="image-text-to-text"):
        TransformersChat(str(tmp_path / "none"), "cpu")
