"""Who may reach the server: loopback, own pages, and MONAI Label's sign-in with a stand-in realm over TLS."""

import datetime
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import jwt
import pytest
import requests
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi import HTTPException
from lib import login, routes, server
from monailabel.client import MONAILabelClient

MODEL = "hippocampus_mr_segmentation"
PASSWORDS = {"reader": "right", "annotator": "right", "stranger": "right"}
ROLES = {
    "reader": ["monailabel-user"],
    "annotator": ["monailabel-user", "monailabel-annotator", "monailabel-admin"],
}


@pytest.fixture(scope="module")
def key():
    """The realm's private key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def token(key, user: str, seconds: float = 600, algorithm: str = "RS256") -> str:
    """What Keycloak signs for a user."""
    payload = {"preferred_username": user, "exp": time.time() + seconds}
    if user in ROLES:
        payload["realm_access"] = {"roles": ROLES[user]}
    return jwt.encode(payload, key, algorithm=algorithm)


@pytest.fixture(scope="module")
def realm(key):
    """Address of a realm that answers as Keycloak does."""
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    body = "".join(public.decode().splitlines()[1:-1])

    class Realm(BaseHTTPRequestHandler):
        def answer(self, status: int, content: dict) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def do_GET(self):
            if self.path.endswith("openid-configuration"):
                self.answer(200, {"token_endpoint": f"{address}/token"})
            else:
                self.answer(200, {"public_key": body})

        def do_POST(self):
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            user, password = form["username"][0], form["password"][0]
            if PASSWORDS.get(user) != password:
                self.answer(401, {"error": "invalid_grant"})
                return
            content = {"access_token": token(key, user), "token_type": "Bearer", "expires_in": 300}
            self.answer(200, content)

        def log_message(self, *_):
            """Silence."""

    stand_in = ThreadingHTTPServer(("127.0.0.1", 0), Realm)
    address = f"http://127.0.0.1:{stand_in.server_port}/realms/studies"
    threading.Thread(target=stand_in.serve_forever, daemon=True).start()
    yield address
    stand_in.shutdown()


@pytest.fixture(scope="module")
def certificate(key, tmp_path_factory) -> tuple:
    """Files of a self-signed certificate for 127.0.0.1 and of its key."""
    import ipaddress

    folder = tmp_path_factory.mktemp("tls")
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "key.pem").write_bytes(private)
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture(scope="module")
def guarded(serve, realm, certificate, phantoms, tmp_path_factory):
    """A server with sign-in and TLS on one volume."""
    studies = tmp_path_factory.mktemp("guarded")
    phantoms(studies, [600])
    environment = {"MONAI_LABEL_AUTH_ENABLE": "true", "MONAI_LABEL_AUTH_REALM_URI": realm}
    return serve(studies, MODEL, environment, tls=certificate)


@pytest.fixture
def ask(guarded, certificate):
    """Call the server over TLS; the certificate is checked."""

    def call(method: str, path: str, bearer: str = "", **options) -> requests.Response:
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        options = {"verify": str(certificate[0]), "allow_redirects": False} | options
        return requests.request(method, guarded.url + path, headers=headers, **options)

    return call


def test_without_a_token_nothing_is_told(ask):
    for method, path in (
        ("GET", "/info/"),
        ("POST", f"/infer/{MODEL}?image=case_600"),
        ("POST", "/infer/none?image=case_600"),
        ("POST", "/train/none"),
        ("POST", "/activelearning/none"),
        ("GET", "/datastore/image?image=case_600"),
        ("PUT", "/session/"),
    ):
        answer = ask(method, path)
        assert answer.status_code == 401, (path, answer.text)
        assert MODEL not in answer.text and "case_600" not in answer.text
    assert ask("GET", "/auth/").json()["enabled"] is True


def test_wrong_password_is_answered_with_a_sentence(ask):
    form = {"username": "reader", "password": "wrong", "grant_type": "password"}
    answer = ask("POST", "/auth/token", data=form)
    assert answer.status_code == 401 and "password" in answer.json()["detail"]


def test_monai_labels_client_signs_in_and_segments(guarded, tmp_path):
    client = MONAILabelClient(guarded.url, str(tmp_path), "tester")
    assert client.auth_enabled() and not client.auth_valid_token()
    client.update_auth(client.auth_token("annotator", "right"))
    assert client.auth_valid_token()
    assert MODEL in client.info()["models"]
    image = client.next_sample("first", {})["id"]
    path, answer = client.infer(MODEL, image, {})
    assert answer["labels"]["posterior hippocampus"]["present"]
    client.save_label(image, path, "final")
    assert client.info()["datastore"]["completed"] == 1
    (record,) = (guarded.log.parent / "model" / "rounds").glob("*/rounds.jsonl")
    saved = [e for e in map(json.loads, record.read_text().splitlines()) if e["event"] == "saved"]
    assert [e["client"] for e in saved] == ["annotator"]  # not the name that the client sends


def test_role_decides_what_a_person_may_do(ask, key):
    reader = token(key, "reader")
    assert ask("GET", "/info/", reader).status_code == 200
    answer = ask("PUT", "/datastore/label?image=case_600", reader, files={"label": b"x"})
    assert answer.status_code == 403 and "annotator" in answer.json()["detail"]
    assert ask("GET", "/info/", token(key, "stranger")).status_code == 403  # no roles at all


def test_forged_and_expired_tokens_are_refused(ask, key):
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    unsigned = jwt.encode({"preferred_username": "reader"}, None, algorithm="none")
    for bad in (token(other, "annotator"), token(key, "annotator", -10), unsigned, "rubbish"):
        assert ask("GET", "/info/", bad).status_code == 401


def test_browser_signs_in_once_for_ohif(ask, guarded, certificate):
    path = "/ohif/monai-label?StudyInstanceUIDs=1.2"
    to_form = ask("GET", path)
    assert to_form.status_code == 303 and to_form.headers["location"].startswith("/login?next=")
    browser = requests.Session()
    browser.trust_env, browser.verify = False, str(certificate[0])
    form = browser.get(guarded.url + path)
    assert 'type="password"' in form.text and form.status_code == 200
    data = {"username": "annotator", "password": "wrong"}
    again = browser.post(form.url, data=data)
    assert again.status_code == 401 and "wrong" in again.text
    inside = browser.post(form.url, data=data | {"password": "right"}, allow_redirects=False)
    assert inside.status_code == 303 and inside.headers["location"] == path
    cookie = inside.headers["set-cookie"].lower()
    assert all(word in cookie for word in ("httponly", "samesite=strict", "secure"))
    assert "<title>" in browser.get(guarded.url + path).text
    assert MODEL in browser.get(f"{guarded.url}/info/").json()["models"]


def test_sign_in_leads_to_no_other_site(ask):
    data = {"username": "annotator", "password": "right"}
    for target in ("https://example.org/", "//example.org", "/\\example.org"):
        answer = ask("POST", "/login", params={"next": target}, data=data)
        assert answer.headers["location"] == "/ohif/"


def test_silent_sign_in_server_is_named(monkeypatch):
    monkeypatch.setattr(login.settings, "MONAI_LABEL_AUTH_REALM_URI", "http://127.0.0.1:9/realm")
    with pytest.raises(HTTPException, match="sign-in server") as error:
        login.fetch_token("reader", "right")
    assert error.value.status_code == 503


def test_server_listens_on_loopback_unless_told_otherwise(caplog):
    config = uvicorn.Config(app=None, host="0.0.0.0")
    assert server.listen_on_loopback(["start_server"]).startswith("http://127.0.0.1:")
    assert config.host == "127.0.0.1" and not caplog.records


@pytest.mark.parametrize(
    ("host", "enabled", "warns"),
    [("0.0.0.0", False, True), ("0.0.0.0", True, False), ("127.0.0.1", False, False)],
)
def test_open_address_without_sign_in_is_warned_about(caplog, monkeypatch, host, enabled, warns):
    monkeypatch.setattr(server.settings, "MONAI_LABEL_AUTH_ENABLE", enabled)
    config = uvicorn.Config(app=None, host=host)
    server.listen_on_loopback(["start_server", "--host", host])
    assert config.host == host
    assert ("WITHOUT authentication" in caplog.text) is warns


def test_pages_of_other_sites_cannot_read_the_studies(guarded, certificate):
    for origin, allowed in ((guarded.url, True), ("http://example.org", False)):
        answer = requests.get(
            f"{guarded.url}/auth/", headers={"Origin": origin}, verify=str(certificate[0])
        )
        assert ("access-control-allow-origin" in answer.headers) is allowed


def test_endpoint_that_waits_is_not_run_in_a_thread_by_mistake():
    async def quick(number: int) -> int:
        return number + 1

    async def waits() -> None:
        import asyncio

        await asyncio.sleep(0)

    assert routes.threaded(quick)(number=1) == 2
    with pytest.raises(RuntimeError, match="waits"):
        routes.threaded(waits)()


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        (["start_server", "--host", "0.0.0.0"], True),
        (["-i", "1.2.3.4"], True),
        (["--host=::"], True),
        (["start_server", "--port", "9"], False),
    ],
)
def test_address_on_the_command_line_is_noticed(arguments, given):
    assert server.host_given(arguments) is given
