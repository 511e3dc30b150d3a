"""OpenAI-compatible servers, real ones on loopback: what each fault leads to, and what is sent."""

import base64
import io
import json

import pytest
from chat_server import ChatServer, words_of
from PIL import Image

pytest.importorskip("openai", reason="the extra 'lmm' is not installed")

from conceptseg.concepts.chat import ModelError, ServerDownError, Turn
from conceptseg.concepts.openai_chat import OpenAIChat, is_loopback
from conceptseg.concepts.questions import Question

PICTURE = Image.new("RGB", (24, 16), (200, 30, 30))
QUESTION = Question("polyp", {"color": ("red", "pink"), "margin": ("sharp", "blurred")})


SHORT, LONG = 0.3, 60.0  # s: time-outs for servers that never answer, and for those that do


def chat(server: ChatServer, **changes) -> OpenAIChat:
    return OpenAIChat(
        **({"model": "tiny", "base_url": server.url, "max_retries": 2, "timeout": LONG} | changes)
    )


def first(count: int, fault: str):
    """The fault for the first requests."""
    return lambda number, body: fault if number < count else None


def test_a_good_server_answers_the_question_about_the_picture_alone():
    with ChatServer() as server:
        answer = chat(server).ask(PICTURE, QUESTION)
        body = server.bodies[0]
    image, text = body["messages"][0]["content"]
    assert QUESTION.read(answer) == words_of(text["text"], image["image_url"]["url"])
    data = image["image_url"]["url"].removeprefix("data:image/png;base64,")
    sent = Image.open(io.BytesIO(base64.b64decode(data)))
    assert sent.tobytes() == PICTURE.tobytes() and not sent.info
    assert body["response_format"]["json_schema"]["schema"] == QUESTION.schema
    assert body["response_format"]["json_schema"]["strict"] is True


@pytest.mark.parametrize("fault", ["429", "500", "close"])
def test_a_passing_fault_is_outlived_by_retries(fault):
    with ChatServer(first(1, fault)) as server:
        assert QUESTION.read(chat(server).ask(PICTURE, QUESTION))
        assert server.count == 2


def test_a_server_that_hangs_once_is_asked_again_after_the_time_out():
    def is_retry(headers) -> bool:
        return headers["x-stainless-retry-count"] != "0"

    def be_patient(request) -> None:  # a busy machine may take longer than SHORT to answer
        if is_retry(request.headers):
            request.extensions["timeout"]["read"] = LONG

    with ChatServer(lambda n, body: None if is_retry(server.headers[n]) else "hang") as server:
        model = chat(server, timeout=SHORT)
        model.client._client.event_hooks = {"request": [be_patient]}
        assert QUESTION.read(model.ask(PICTURE, QUESTION))
        assert [is_retry(headers) for headers in server.headers] == [False, True]


@pytest.mark.parametrize(
    "fault, reason, timeout",
    [
        ("429", "429: .*injected", LONG),
        ("500", "500: .*injected", LONG),
        ("close", "connection failed", LONG),
        ("hang", f"no answer within {SHORT} s", SHORT),
        ("html", "no chat completion", LONG),
        ("no_choices", "no chat completion", LONG),
    ],
)
def test_a_lasting_fault_is_an_error_that_says_why(fault, reason, timeout):
    with ChatServer(lambda number, body: fault) as server:
        with pytest.raises(ModelError, match=reason) as caught:
            chat(server, max_retries=1, timeout=timeout).ask(PICTURE, QUESTION)
        assert not isinstance(caught.value, ServerDownError)


def test_a_server_that_is_not_there_is_told_apart_from_a_failed_request():
    with ChatServer() as server:
        gone = chat(server, max_retries=0)
    with pytest.raises(ServerDownError, match="connection failed"):
        gone.ask(PICTURE, QUESTION)


def test_earlier_turns_tell_the_model_what_was_wrong():
    with ChatServer() as server:
        chat(server).ask(PICTURE, QUESTION, (Turn("{}", "color: field required"),))
        messages = server.bodies[0]["messages"]
    assert [m["role"] for m in messages] == ["user", "assistant", "user"]
    assert "color: field required" in messages[2]["content"]


@pytest.mark.parametrize(
    "fault, enforced, formats",
    [
        (None, True, True),
        ("ignores_schema", False, True),
        ("garbage", False, True),
        ("refuses_format", False, False),
    ],
)
def test_the_probe_shows_whether_the_schema_is_enforced(fault, enforced, formats):
    with ChatServer(lambda number, body: fault) as server:
        model = chat(server, max_retries=0)
        assert model.enforces_schema() is enforced
        model.ask(PICTURE, QUESTION)
        assert ("response_format" in server.bodies[-1]) is formats


def test_the_probe_of_a_broken_server_is_an_error():
    with ChatServer(lambda number, body: "500") as server, pytest.raises(ModelError, match="500"):
        chat(server, max_retries=0).enforces_schema()


@pytest.mark.parametrize(
    "url, expected",
    [
        ("http://127.0.0.1:8000/v1", True),
        ("http://localhost/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://192.0.2.7/v1", False),
        ("http://127.0.0.1.example.invalid/v1", False),
        ("nonsense", False),
    ],
)
def test_only_addresses_of_this_machine_are_loopback(url, expected):
    assert is_loopback(url) is expected


def test_pixels_leave_the_machine_only_with_the_switch():
    with pytest.raises(ValueError, match="allow_remote"):
        OpenAIChat("tiny", "http://192.0.2.7/v1")
    with pytest.raises(ValueError, match="allow_remote to be True or False, got 'false'"):
        OpenAIChat("tiny", "http://192.0.2.7/v1", allow_remote="false")  # of a command line
    assert OpenAIChat("tiny", "http://192.0.2.7/v1", allow_remote=True).is_remote


def test_a_proxy_of_the_environment_is_not_used_for_this_machine(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://192.0.2.7:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with ChatServer() as server:
        assert QUESTION.read(chat(server, max_retries=0).ask(PICTURE, QUESTION))


def test_address_model_and_key_come_from_the_environment(monkeypatch):
    with ChatServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_MODEL", "from-environment")
        monkeypatch.setenv("OPENAI_API_KEY", "key-of-the-test")
        OpenAIChat().ask(PICTURE, QUESTION)
        assert server.bodies[0]["model"] == "from-environment"
        assert server.headers[0]["authorization"] == "Bearer key-of-the-test"


def test_a_missing_server_or_model_is_named(monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.delenv("OPENAI_MODEL", raising=False)
    with pytest.raises(ValueError, match="OPENAI_BASE_URL"):
        OpenAIChat("tiny")


def test_the_answer_is_kept_word_for_word():
    with ChatServer(lambda number, body: "fenced") as server:
        answer = chat(server).ask(PICTURE, QUESTION)
    assert answer.startswith("Of course!") and QUESTION.read(answer)
    with pytest.raises(ValueError, match="no JSON object"):
        QUESTION.read("HELLO")
    with pytest.raises(ValueError, match="margin"):
        QUESTION.read(json.dumps({"color": "red"}))
