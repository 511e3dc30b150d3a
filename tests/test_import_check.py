"""Received archives: usable ones are described, dangerous ones refused before anything runs."""

import json
import os
import pickle
import runpy
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from monai.bundle import ConfigParser

from conceptseg.export.bundle_export import export_bundle, zip_bundle
from conceptseg.export.checksums import write_sums
from conceptseg.export.expressions import ConfigAudit, import_aliases
from conceptseg.export.received import inspect_archive

NAME = "polyp_endoscopy_segmentation"


@pytest.fixture(scope="module")
def folder(repository, tmp_path_factory) -> Path:
    """An exported bundle with a small network."""
    base = tmp_path_factory.mktemp("received")
    bundle = base / "source" / NAME
    shutil.copytree(
        repository / "bundles" / NAME, bundle, ignore=shutil.ignore_patterns("models", "eval")
    )
    config = bundle / "configs" / "inference.yaml"
    config.write_text(config.read_text().replace("[32, 64, 128, 192]", "[8, 8, 12, 16]"))
    parser = ConfigParser()
    parser.read_config(str(config))
    (bundle / "models").mkdir()
    torch.save(
        parser.get_parsed_content("network_def").state_dict(), bundle / "models" / "model.pt"
    )
    return export_bundle(bundle, base / "out").folder


@pytest.fixture
def received(folder, tmp_path):
    """A function that changes a copy of the bundle, lists it anew, zips and inspects it."""

    def inspect(change=None, sums=True, allow=()):
        copy = tmp_path / NAME
        shutil.copytree(folder, copy)
        if change:
            change(copy)
        if sums:
            write_sums(copy)
        zip_bundle(copy, tmp_path / "bundle.zip")
        return inspect_archive(tmp_path / "bundle.zip", allow)

    return inspect


def test_a_good_bundle_is_usable_and_described(received, repository):
    result = received()
    metadata = json.loads((repository / "bundles" / NAME / "configs/metadata.json").read_text())
    assert result.refused == []
    facts = result.facts
    assert (facts["name"], facts["version"]) == (NAME, metadata["version"])
    assert facts["labels"] == {"0": "background", "1": "polyp"}
    assert facts["licence"].startswith("Apache License") and "Kvasir" in facts["data licence"]
    assert facts["code"].endswith(", 0 not of this conceptseg")
    assert facts["vocabulary"].split()[0].isdigit()
    assert len(facts["weights"]["models/model.pt"].split()[-1]) == 64
    assert json.loads(result.to_json())["usable"] is True


def test_other_versions_and_another_vocabulary_are_noted(received):
    def change(bundle):
        meta = bundle / "configs" / "metadata.json"
        meta.write_text(meta.read_text().replace('"monai_version": "', '"monai_version": "9.'))
        state = torch.load(bundle / "models" / "model.pt", weights_only=True)
        state["text_encoder.vocabulary_checksum"] += 1
        torch.save(state, bundle / "models" / "model.pt")

    result = received(change)
    assert result.refused == []
    assert any("monai 9." in note for note in result.notes)
    assert any("vocabulary" in note for note in result.notes)


def test_a_changed_file_is_seen(received):
    def change(bundle):
        (bundle / "docs" / "README.md").write_text("other")

    assert received(change, sums=False).refused == ["docs/README.md: SHA-256 differs from the list"]


@pytest.mark.parametrize(
    "name", ["../evil.txt", "/etc/evil", "bundle/../../evil", "C:/evil", "bundle\\..\\evil"]
)
def test_names_that_leave_the_folder_are_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), "x")
    assert any("leads out" in line for line in inspect_archive(tmp_path / "x.zip").refused)


def test_links_twins_two_folders_and_bombs_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        link = zipfile.ZipInfo("a/link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("a/twin", "1")
        archive.writestr("a/TWIN", "2")
        archive.writestr("b/zeros", bytes(20 << 20))
    said = " ".join(inspect_archive(tmp_path / "x.zip").refused)
    for word in ("is a link", "occurs twice", "one bundle folder", "unpacks to"):
        assert word in said


class Evil:
    """Runs a command when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch /tmp/conceptseg_test_was_here",)


def test_weights_that_carry_code_are_refused_and_do_not_run(received):
    def change(bundle):
        torch.save({"model": Evil()}, bundle / "models" / "model.pt")
        (bundle / "models" / "more.pkl").write_bytes(pickle.dumps(Evil()))

    said = " ".join(received(change).refused)
    assert "weights_only" in said and "more.pkl" in said
    assert not Path("/tmp/conceptseg_test_was_here").exists()


def test_changed_or_added_code_is_refused_until_allowed(received, tmp_path):
    def change(bundle):
        (bundle / "scripts" / "network.py").write_text("import os\n")
        (bundle / "run.sh").write_text("true")

    result = received(change)
    assert any("scripts/network.py" in line for line in result.refused)
    assert any("run.sh" in line for line in result.refused)
    shutil.rmtree(tmp_path / NAME)
    allowed = received(change, allow=["scripts"])
    assert not any("network.py" in line for line in allowed.refused)


def test_what_a_config_does_is_read_also_in_logging_conf(received):
    def change(bundle):
        (bundle / "configs" / "more.yaml").write_text(
            yaml.safe_dump({"x": {"_target_": "os.system", "command": "true"}})
        )
        (bundle / "configs" / "logging.conf").write_text(
            "[handler_a]\nclass=StreamHandler\nargs=(__import__('os').system('true'),)\n"
        )

    said = " ".join(received(change).refused)
    assert "os.system" in said and "__import__" in said


@pytest.mark.parametrize(
    "config",
    [
        {"_target_": "subprocess.run"},
        {"_target_": "monai.data.utils.os.system"},
        {"_target_": "torch.hub.load"},
        {"_target_": "torch.load"},
        {"_target_": "monai.bundle.run"},
        {"_target_": "monai.data.PersistentDataset"},
        {"_target_": "PersistentDataset"},
        {"_target_": "NoSuchComponent"},
        {"_target_": "conceptseg.datalist.os.system"},
        {"_target_": "conceptseg.atomic.write_text_atomic"},
        {"_target_": "$'os.system'"},
        {"train#loss#_target_": "os.system"},
        {"_target_": "Compose", "_mode_": "debug"},
        {"a": "$import subprocess"},
        {"a": "$from os import system"},
        {"a": "$__import__('os')"},
        {"a": "$eval('1')"},
        {"a": "$open('x')"},
        {"a": "$os.system('true')"},
        {"a": "$torch"},
        {"a": "$@x.__class__.__base__"},
        {"a": "$(lambda: 0).__globals__"},
        {"a": "$[y for y in (1,)].gi_frame"},
        {"a": "$getattr(1, 'real')"},
        {"a": "$torch.load('x')"},
        {"a": "$np.load('x', allow_pickle=True)"},
        {"a": "$1; 2"},
        {"a": "$("},
        {"a": "%other.yaml::id"},
        {"a": [{"b": "$monai.utils.module.optional_import('os')"}]},
    ],
)
def test_what_runs_code_is_refused(config):
    assert list(ConfigAudit(aliases={"os": "os"}).problems(config))


@pytest.mark.parametrize(
    "config",
    [
        {"_target_": "Compose", "transforms": [{"_target_": "LoadImaged"}]},
        {"_target_": "monai.transforms.Activationsd"},
        {"_target_": "torch.optim.AdamW", "params": "$@network.parameters()"},
        {"_target_": "torch.nn.parallel.DistributedDataParallel"},
        {"_target_": "ignite.handlers.ProgressBar"},
        {"_target_": "conceptseg.network.ConceptSegNet"},
        {"_target_": "conceptseg.datalist.image_datalist"},
        {"a": "$import os"},
        {"a": "$import torch.distributed as dist"},
        {"a": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')"},
        {"a": "$monai.handlers.from_engine(['pred', 'label'])"},
        {"a": "$os.environ['LOCAL_RANK']"},
        {"a": "$lambda output: output['loss'].detach()"},
        {"a": "$[i * 2 for i in range(len(@train#dataset))]"},
        {"a": "$@bundle_root + '/models'"},
        {"a": "plain text $ and import os"},
    ],
)
def test_what_bundles_need_is_allowed(config):
    assert list(ConfigAudit(aliases={"os": "os"}).problems(config)) == []


def test_all_configs_of_the_repository_are_allowed(repository):
    for bundle in (repository / "bundles").iterdir():
        if not (bundle / "configs").is_dir():
            continue
        configs = [yaml.safe_load(f.read_text()) for f in (bundle / "configs").glob("*.yaml")]
        audit = ConfigAudit(aliases=import_aliases(configs))
        assert [p for config in configs for p in audit.problems(config)] == []


def test_a_name_with_two_meanings_is_refused():
    with pytest.raises(ValueError, match="torch"):
        import_aliases([{"a": "$import os as torch"}])


def test_the_command_says_usable_or_refused(folder, repository, tmp_path, monkeypatch, capsys):
    zip_bundle(folder, tmp_path / "good.zip")
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("../x", "")
    (tmp_path / "no.zip").write_bytes(b"no zip")
    codes = {}
    for name in ("good", "bad", "no"):
        monkeypatch.setattr(sys, "argv", ["import_check.py", str(tmp_path / f"{name}.zip")])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(repository / "scripts" / "import_check.py"), run_name="__main__")
        codes[name] = ended.value.code
    assert codes == {"good": 0, "bad": 1, "no": 2}
    said = capsys.readouterr()
    assert "\nusable" in said.out and "leads out" in said.out and "Error: Expected" in said.err
