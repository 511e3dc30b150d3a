"""Exported bundles stand alone: same logits without the package, kept apart, as the zoo wants them."""

import json
import os
import runpy
import shutil
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import monai.bundle
import pytest
import torch
import yaml
from monai.bundle import ConfigParser

from conceptseg.export.bundle_export import export_bundle
from conceptseg.export.checksums import compare_sums, folder_sums, read_sums
from conceptseg.export.closure import config_modules, needed_files
from conceptseg.export.renaming import PATH_STEPS, names_module, rename_in_text, rename_modules
from conceptseg.export.zoo_checks import LICENCE_TO_STATE, NOT_STATED, check_bundle

HIPPOCAMPUS, POLYP = "hippocampus_mr_segmentation", "polyp_endoscopy_segmentation"
METADATA = Path(__file__).parents[1] / "bundles" / POLYP / "configs" / "metadata.json"
VERSION = json.loads(METADATA.read_text())["version"]
LOGITS = """
import sys, json
sys.modules["conceptseg"] = None  # an installed package cannot help
import torch
from monai.bundle import ConfigParser
bundle, result = sys.argv[1:]
sys.path.insert(0, bundle)
parser = ConfigParser()
parser.read_config(bundle + "/configs/inference.yaml")
parser["bundle_root"] = bundle
network = parser.get_parsed_content("network_def")
network.load_state_dict(torch.load(bundle + "/models/model.pt", weights_only=True))
torch.manual_seed(0)
image = torch.rand(2, network.backbone.in_channels, 64, 64)
with torch.no_grad():
    torch.save({"logits": network.eval()(image), "module": type(network).__module__}, result)
"""


def network_of(bundle: Path):
    """The network that a bundle's inference config describes."""
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.yaml"))
    return parser.get_parsed_content("network_def")


@pytest.fixture(scope="module")
def sources(repository, tmp_path_factory) -> dict[str, Path]:
    """Both bundles with small networks of random weights."""
    folder, result = tmp_path_factory.mktemp("sources"), {}
    for seed, name in enumerate((HIPPOCAMPUS, POLYP)):
        bundle = folder / name
        ignored = shutil.ignore_patterns("models", "eval", "train_output")
        shutil.copytree(repository / "bundles" / name, bundle, ignore=ignored)
        for config in ("inference", "train"):
            file = bundle / "configs" / f"{config}.yaml"
            text = file.read_text()
            wide = next(w for w in ("[24, 48, 96, 160]", "[32, 64, 128, 192]") if w in text)
            file.write_text(text.replace(wide, "[8, 8, 12, 16]"))
        (bundle / "models").mkdir()
        torch.manual_seed(seed)
        torch.save(network_of(bundle).state_dict(), bundle / "models" / "model.pt")
        result[name] = bundle
    return result


@pytest.fixture(scope="module")
def exported(sources, tmp_path_factory) -> dict[str, Path]:
    """Both exported, with zips beside them."""
    out = tmp_path_factory.mktemp("exported")
    return {n: export_bundle(b, out, make_zip=True).folder for n, b in sources.items()}


def python(*arguments, cwd: Path) -> subprocess.CompletedProcess:
    """Python elsewhere, with nothing of this repository on its path."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env=environment | {"CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("name", [HIPPOCAMPUS, POLYP])
def test_the_same_logits_without_the_package_from_any_directory(sources, exported, name, tmp_path):
    result = python("-c", LOGITS, exported[name], tmp_path / "found.pt", cwd=tmp_path)
    assert result.returncode == 0, result.stderr[-2000:]
    found = torch.load(tmp_path / "found.pt")
    network = network_of(sources[name])
    state = torch.load(sources[name] / "models" / "model.pt", weights_only=True)
    network.load_state_dict(state)
    torch.manual_seed(0)
    image = torch.rand(2, network.backbone.in_channels, 64, 64)
    with torch.no_grad():
        expected = network.eval()(image)
    assert found["module"] == "scripts.network"
    # another process may share out the sums otherwise
    torch.testing.assert_close(found["logits"], expected, rtol=1e-4, atol=1e-5)


def test_the_exported_bundle_runs_by_monais_command_offline(exported, tmp_path):
    from PIL import Image

    (tmp_path / "images").mkdir()
    Image.new("RGB", (70, 50), "red").save(tmp_path / "images" / "one.png")
    bundle = exported[POLYP]
    command = "import sys; sys.modules['conceptseg'] = None; from monai.bundle import run; run("
    command += (
        f"config_file={str(bundle / 'configs/inference.yaml')!r}, bundle_root={str(bundle)!r},"
    )
    command += "dataset_dir='images', output_dir='out', image_size=64, logging_file=False)"
    result = python("-c", command, cwd=tmp_path)
    assert result.returncode == 0, result.stderr[-2000:]
    assert Image.open(tmp_path / "out" / "one_seg.png").size == (70, 50)


def test_only_what_the_configs_need_is_exported(exported):
    names = {p.stem for p in (exported[HIPPOCAMPUS] / "scripts").rglob("*.py")}
    assert {"network", "onnx_inferer", "training"} <= names
    assert not names & {"demo", "bundle_export", "predict", "doctor", "weights"}
    assert "weights" in {p.stem for p in (exported[POLYP] / "scripts" / "clipseg").glob("*.py")}
    assert not (exported[POLYP] / "docs" / "card.yaml").exists()


def test_only_targets_and_expressions_are_renamed(sources, exported):
    for file in (sources[HIPPOCAMPUS] / "configs").glob("*.yaml"):
        old, new = (
            b / "configs" / file.name for b in (sources[HIPPOCAMPUS], exported[HIPPOCAMPUS])
        )
        before, after = yaml.safe_load(old.read_text()), yaml.safe_load(new.read_text())
        if "initialize" in after:
            assert tuple(after["initialize"][:2]) == PATH_STEPS
            after["initialize"] = after["initialize"][2:]
        assert rename_modules(after, "scripts", "conceptseg") == before
        assert not list(names_module(after, "conceptseg"))
        assert old.read_text().count("#") == new.read_text().count("#")  # comments are kept
    text = 'a: conceptseg.x\nb: "$conceptseg.y.z(1)"\n"c#_target_": conceptseg.d.E # conceptseg\n'
    assert yaml.safe_load(rename_in_text(text)) == {
        "a": "conceptseg.x",
        "b": "$scripts.y.z(1)",
        "c#_target_": "scripts.d.E",
    }
    with pytest.raises(ValueError, match="one line"):
        rename_in_text("a: $import conceptseg\n")


def test_the_apps_reader_undoes_the_renaming(repository, sources, exported, monkeypatch):
    pytest.importorskip("monailabel")
    monkeypatch.syspath_prepend(str(repository / "apps" / "conceptseg"))
    from lib.bundle import read_config

    first, second = (read_config(b[POLYP], "train").config for b in (sources, exported))
    first["bundle_root"] = second["bundle_root"] = "."
    second["initialize"] = second["initialize"][len(PATH_STEPS) :]
    assert first == second


def test_imports_inside_functions_are_refused(tmp_path):
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "a.py").write_text("def f():\n    from .b import c\n")
    (tmp_path / "b.py").write_text("")
    with pytest.raises(ValueError, match="line 2"):
        needed_files(["a"], tmp_path)
    (tmp_path / "a.py").write_text("from . import b\n")
    assert [f.name for f in needed_files(["a"], tmp_path)] == ["__init__.py", "a.py", "b.py"]
    with pytest.raises(ValueError, match="Correct the target"):
        config_modules([{"_target_": "conceptseg.absent.X"}], tmp_path)


def test_every_file_is_listed_with_its_hash_and_damage_is_seen(exported, tmp_path):
    folder = tmp_path / HIPPOCAMPUS
    shutil.copytree(exported[HIPPOCAMPUS], folder)
    listed = read_sums((folder / "SHA256SUMS").read_text())
    assert compare_sums(listed, folder_sums(folder)) == []
    (folder / "LICENSE").write_text("other")
    (folder / "new.txt").write_text("")
    assert compare_sums(listed, folder_sums(folder)) == [
        "new.txt: not listed",
        "LICENSE: SHA-256 differs from the list",
    ]


def test_the_same_bundle_gives_the_same_archive(sources, exported, tmp_path):
    again = export_bundle(sources[POLYP], tmp_path, make_zip=True)
    assert again.archive.name == f"{POLYP}_v{VERSION}.zip"
    assert again.archive.read_bytes() == (exported[POLYP].parent / again.archive.name).read_bytes()


def test_nothing_is_overwritten_and_missing_weights_are_said(sources, tmp_path):
    export_bundle(sources[POLYP], tmp_path)
    with pytest.raises(FileExistsError, match="--overwrite"):
        export_bundle(sources[POLYP], tmp_path)
    export_bundle(sources[POLYP], tmp_path, overwrite=True)
    with pytest.raises(ValueError, match="exported already"):
        export_bundle(tmp_path / POLYP, tmp_path / "again")
    bare = tmp_path / "bare" / POLYP
    shutil.copytree(sources[POLYP], bare, ignore=shutil.ignore_patterns("models"))
    with pytest.raises(FileNotFoundError, match="--without_weights"):
        export_bundle(bare, tmp_path / "out")
    assert export_bundle(bare, tmp_path / "out", without_weights=True).weights_sha256 is None
    with pytest.raises(FileNotFoundError, match="metadata"):
        export_bundle(tmp_path / "nowhere", tmp_path / "out")


def test_weights_that_stay_outside_are_named_with_their_hash(sources, tmp_path):
    url = "https://example.org/model.pt"
    result = export_bundle(sources[POLYP], tmp_path, weights_url=url)
    entry = yaml.safe_load((result.folder / "large_files.yml").read_text())["large_files"][0]
    assert entry["url"] == url and entry["hash_val"] == result.weights_sha256
    assert not (result.folder / "models").exists()
    checks = {c.name: c for c in check_bundle(result.folder)}
    assert checks["required files"].passed and checks["weights fit"].passed is None


@pytest.mark.parametrize("name", [HIPPOCAMPUS, POLYP])
def test_both_exported_bundles_pass_the_zoos_checks(exported, metadata_schema, name):
    checks = check_bundle(exported[name], metadata_schema)
    assert {c.name: c.detail for c in checks if c.passed is False} == {}
    assert [c.name for c in checks if c.passed is None] == []


def test_the_checks_find_what_is_wrong(exported, tmp_path):
    folder = tmp_path / "Polyp finder"
    shutil.copytree(exported[POLYP], folder)
    (folder / "configs" / "extra.yaml").write_text("a: /home/someone/data\nb: $conceptseg.x.y()\n")
    (folder / "big.bin").write_bytes(bytes(26 << 20))
    meta = folder / "configs" / "metadata.json"
    content = json.loads(meta.read_text())
    content["version"], content["numpy_version"] = "99.0.0", ">=1.26"
    content["required_packages_version"].pop("scipy")
    meta.write_text(json.dumps(content))
    (folder / "LICENSE").write_text("All rights reserved")
    (folder / "docs" / "README.md").write_text("# Polyps\n")
    failed = {c.name: c.detail for c in check_bundle(folder) if c.passed is False}
    assert set(failed) == {
        *("version and changelog", "package pins", "file names", "file sizes", "no machine paths"),
        *("licences", "README sections", "self-contained", "SHA-256 list"),
    }
    assert (
        "/home/someone" in failed["no machine paths"] and "extra.yaml" in failed["self-contained"]
    )


def test_a_bundle_that_nobody_has_completed_is_not_accepted(exported, tmp_path):
    folder = tmp_path / POLYP
    shutil.copytree(exported[POLYP], folder)
    terms, meta = folder / "docs" / "data_license.txt", folder / "configs" / "metadata.json"
    complete = json.loads(meta.read_text())

    def licences() -> str:
        return {c.name: c.detail for c in check_bundle(folder) if not c.passed}.get("licences", "")

    terms.write_text(f"{LICENCE_TO_STATE}\n")
    assert "still asks" in licences()
    terms.write_text("Photographs of our clinic, CC BY 4.0.\n")
    meta.write_text(json.dumps(complete | {"authors": NOT_STATED, "data_source": NOT_STATED}))
    assert licences() == "metadata.json does not state authors, data_source"
    meta.write_text(json.dumps(complete))
    assert licences() == ""


def test_the_verdict_says_what_was_not_checked(exported, repository, monkeypatch, capsys):
    script = str(repository / "scripts" / "check_bundle.py")
    monkeypatch.setattr(sys, "argv", [script, str(exported[POLYP])])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(script, run_name="__main__")
    verdict = capsys.readouterr().out.splitlines()[-1]
    assert ended.value.code == 0
    assert "ready for the zoo as far as checked (not checked: metadata schema)" in verdict


def test_whoever_checks_a_bundle_as_it_is_made_is_told_to_export_it(
    repository, monkeypatch, capsys
):
    script = str(repository / "scripts" / "check_bundle.py")
    monkeypatch.setattr(sys, "argv", [script, str(repository / "bundles" / POLYP)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(script, run_name="__main__")
    assert ended.value.code == 1
    assert "scripts/export_bundle.py BUNDLE OUT" in capsys.readouterr().out.splitlines()[-1]


def test_a_network_that_breaks_its_promise_is_found(exported, tmp_path):
    folder = tmp_path / POLYP
    shutil.copytree(exported[POLYP], folder)
    meta = folder / "configs" / "metadata.json"
    content = json.loads(meta.read_text())
    content["network_data_format"]["outputs"]["pred"]["num_channels"] = 7
    meta.write_text(json.dumps(content))
    config = folder / "configs" / "inference.yaml"
    config.write_text(config.read_text().replace("keywords: [polyp]", "keywords: [polyp, wound]"))
    failed = {c.name: c.detail for c in check_bundle(folder) if c.passed is False}
    assert {"verify_net_in_out", "weights fit"} <= set(failed)
    assert "7" in failed["verify_net_in_out"]


class StandIn(BaseHTTPRequestHandler):
    """A model hub and a zip server on loopback; keeps what it is asked."""

    calls: list = []  # noqa: RUF012
    archive: bytes = b""

    def _answer(self, content: bytes, kind: str = "application/json") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self):
        """The archive, or an empty list of files."""
        self.calls.append(("GET", self.path, b""))
        if self.path.endswith(".zip"):
            self._answer(self.archive, "application/zip")
        else:
            self._answer(b'{"sha": "0", "siblings": []}')

    def do_POST(self):
        """Creation, upload preparation, commit, tag."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.calls.append(("POST", self.path, body))
        host = self.headers["Host"]
        if self.path.endswith("/preupload/main"):
            files = [
                {"path": f["path"], "uploadMode": "regular"} for f in json.loads(body)["files"]
            ]
            answer = {"files": [dict(f, shouldIgnore=False) for f in files]}
        else:
            answer = {
                "url": f"http://{host}/someone/bundle",
                "name": "someone/bundle",
                "commitUrl": f"http://{host}/someone/bundle/commit/0",
                "commitOid": "0",
            }
        self._answer(json.dumps(answer).encode())

    def log_message(self, *args):
        """Stay silent."""


@pytest.fixture
def stand_in():
    """The stand-in's address; it listens on loopback only."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    StandIn.calls = []
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_monai_downloads_the_archive_as_a_bundle(exported, stand_in, tmp_path):
    archive = exported[POLYP].parent / f"{POLYP}_v{VERSION}.zip"
    StandIn.archive = archive.read_bytes()
    monai.bundle.download(
        name=POLYP, url=f"{stand_in}/{archive.name}", bundle_dir=str(tmp_path), progress=False
    )
    assert compare_sums(folder_sums(exported[POLYP]), folder_sums(tmp_path / POLYP)) == []


def test_a_push_to_the_hub_sends_every_file_and_the_version(exported, stand_in, tmp_path):
    pytest.importorskip("huggingface_hub")
    shutil.copytree(exported[POLYP], tmp_path / POLYP)
    code = "from monai.bundle import push_to_hf_hub; push_to_hf_hub('someone/bundle', "
    code += f"{POLYP!r}, {str(tmp_path)!r}, token='none', version={VERSION!r})"
    environment = {"HF_ENDPOINT": stand_in, "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1"}
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment | {"HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    commits = [body for _, path, body in StandIn.calls if "/commit/" in path]
    sent = {
        json.loads(line)["value"]["path"]
        for body in commits
        for line in body.splitlines()
        if json.loads(line)["key"] == "file"
    }
    expected = {*folder_sums(exported[POLYP]), "SHA256SUMS", "README.md"}
    assert sent == expected
    assert any("/tag/" in path and VERSION.encode() in body for _, path, body in StandIn.calls)


def test_the_script_reports_and_fails_in_one_sentence(
    sources, repository, tmp_path, monkeypatch, capsys
):
    script = str(repository / "scripts" / "export_bundle.py")
    monkeypatch.setattr(sys, "argv", [script, str(sources[POLYP]), str(tmp_path), "--zip"])
    codes = []
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(script, run_name="__main__")
        codes.append(ended.value.code)
    said = capsys.readouterr()
    assert codes == [0, 1] and "archive" in said.out
    assert said.err.startswith("Error: Expected nothing at") and said.err.count("\n") == 1
