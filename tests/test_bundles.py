"""The bundles: complete, consistent, and running as a user runs them."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow, run, verify_metadata, verify_net_in_out
from monai.networks.nets import UNet
from phantoms import AFFINE, disc_photo, two_part_volume, write_photos, write_volumes
from PIL import Image
from test_clipseg import TINY, VOCABULARY
from transformers import CLIPSegForImageSegmentation

from conceptseg.clipseg import clipseg_config
from conceptseg.demo import write_demo_studies

HIPPOCAMPUS = "hippocampus_mr_segmentation"
POLYP = "polyp_endoscopy_segmentation"
WOUND = "wound_photo_segmentation"
BUNDLES = (HIPPOCAMPUS, POLYP, WOUND)
PACKAGES = ("conceptseg", "ignite", "monai", "torch")
SMALL = {  # a tiny network and short run; everything else as shipped
    "network_def#backbone#feature_channels": [4, 8, 8, 8],
    "network_def#decoder#feature_channels": [4, 8, 8, 8],
    "cache_rate": 0,
}
SMALL_HIPPOCAMPUS = SMALL | {"slice_size": 32, "slices_per_volume": 2, "batch_volumes": 2}
SMALL_POLYP = SMALL | {"image_size": 64, "batch_size": 2}
EXPECTED_FILES = (
    "LICENSE",
    "docs/README.md",
    "docs/data_license.txt",
    "configs/metadata.json",
    "configs/train.yaml",
    "configs/evaluate.yaml",
    "configs/inference.yaml",
    "configs/multi_gpu_train.yaml",
    "configs/logging.conf",
)
README_SECTIONS = (
    "Overview",
    "Data",
    "Training configuration",
    "Input",
    "Output",
    "Performance",
    "Bundle Commands",
    "References",
    "License",
)


@pytest.fixture(scope="module")
def bundles(repository, tmp_path_factory) -> Path:
    """A copy of the bundles, so that tests write nothing into the repository."""
    target = tmp_path_factory.mktemp("bundles")
    for name in BUNDLES:
        shutil.copytree(repository / "bundles" / name, target / name)
    return target


def run_bundle(bundle: Path, configs: str | list[str], **overrides) -> None:
    """`monai.bundle run` in this process."""
    configs = [configs] if isinstance(configs, str) else configs
    run(
        config_file=[str(bundle / "configs" / c) for c in configs],
        meta_file=str(bundle / "configs" / "metadata.json"),
        logging_file=False,
        bundle_root=str(bundle),
        **overrides,
    )


def small(name: str) -> dict:
    """Overrides for a short run of a bundle."""
    return SMALL_HIPPOCAMPUS if name == HIPPOCAMPUS else SMALL_POLYP


def write_cases(name: str, folder: Path, count: int = 8) -> Path:
    """Phantom cases for a bundle."""
    return (write_volumes if name == HIPPOCAMPUS else write_photos)(folder, count)


@pytest.fixture(scope="module", params=(HIPPOCAMPUS, POLYP))
def trained(request, bundles, tmp_path_factory) -> tuple[str, Path, Path, dict]:
    """A bundle trained for two epochs: name, copy of the bundle, data, overrides used."""
    name = request.param
    data = write_cases(name, tmp_path_factory.mktemp("data"))
    output = tmp_path_factory.mktemp("training")
    overrides = small(name) | {
        "dataset_dir": str(data),
        "ckpt_dir": str(output),
        "split_file": str(output / "split.json"),
    }
    run_bundle(bundles / name, "train.yaml", output_dir=str(output), max_epochs=2, **overrides)
    return name, bundles / name, output, overrides


@pytest.fixture(scope="module")
def inference(trained, tmp_path_factory):
    """A function that runs the trained bundle's inference and returns the output folder."""
    _, bundle, output, overrides = trained
    chosen = {k: v for k, v in overrides.items() if "network_def" in k or k.endswith("_size")}
    chosen.pop("batch_size", None)

    def infer(dataset_dir: Path, **more) -> Path:
        folder = tmp_path_factory.mktemp("predictions")
        run_bundle(
            bundle,
            "inference.yaml",
            dataset_dir=str(dataset_dir),
            output_dir=str(folder),
            **{"checkpointloader#load_path": str(output / "model.pt")},
            **chosen,
            **more,
        )
        return folder

    return infer


@pytest.mark.parametrize("name", BUNDLES)
def test_bundle_holds_every_expected_file_and_no_python(repository, name):
    bundle = repository / "bundles" / name
    assert [f for f in EXPECTED_FILES if not (bundle / f).is_file()] == []
    assert list(bundle.rglob("*.py")) == []
    readme = (bundle / "docs" / "README.md").read_text()
    assert [s for s in README_SECTIONS if f"# {s}" not in readme] == []


@pytest.mark.parametrize("name", BUNDLES)
def test_metadata_follows_the_schema(repository, name, metadata_schema):
    meta = repository / "bundles" / name / "configs" / "metadata.json"
    verify_metadata(meta_file=str(meta), filepath=str(metadata_schema))
    content = json.loads(meta.read_text())
    assert content["version"] in content["changelog"]


@pytest.mark.parametrize("name", BUNDLES)
def test_network_gives_what_the_metadata_promise(repository, name):
    configs = repository / "bundles" / name / "configs"
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(configs / "metadata.json"),
        config_file=str(configs / "inference.yaml"),
        device="cpu",
    )


@pytest.mark.parametrize("name", BUNDLES)
def test_training_and_inference_build_the_same_network(repository, name):
    sections = []
    for config in ("train.yaml", "inference.yaml"):
        parser = ConfigParser()
        parser.read_config(str(repository / "bundles" / name / "configs" / config))
        sections.append(parser.config["network_def"])
    assert sections[0] == sections[1]


@pytest.mark.parametrize("name", BUNDLES)
def test_images_are_mirrored_for_a_second_look_as_in_training(repository, name):
    bundle = repository / "bundles" / name

    def config(file: str, **changes) -> ConfigParser:
        parser = ConfigParser()
        parser.read_config(bundle / "configs" / file)
        parser.update({"bundle_root": str(bundle), **changes})
        return parser

    train = config("train.yaml")
    random = train["train#random_transforms"]
    flips = tuple(t["spatial_axis"] for t in random if t["_target_"] == "RandFlipd")
    for parser in (train, config("inference.yaml")):
        assert parser.get_parsed_content("inferer").mirror_axes == flips
    unflipped = config("train.yaml", flip_probability=0.0)
    assert unflipped.get_parsed_content("inferer").mirror_axes == ()


@pytest.mark.parametrize("name", BUNDLES)
def test_evaluation_cleans_masks_as_inference_does(repository, name):
    configs = repository / "bundles" / name / "configs"
    files = {"postprocessing": ["inference"], "validate#postprocessing": ["train", "evaluate"]}
    cleaning = []
    for key, names in files.items():
        parser = ConfigParser()
        parser.read_config([str(configs / f"{file}.yaml") for file in names])
        steps = [step for step in parser[f"{key}#transforms"] if "Save" not in step["_target_"]]
        steps = [{k: v for k, v in step.items() if k != "keys"} for step in steps]
        discrete = [step["_target_"] for step in steps].index("AsDiscreted")
        cleaning.append((steps[discrete:], parser.get("largest_part")))
    assert cleaning[0] == cleaning[1]


@pytest.mark.parametrize("name", BUNDLES)
def test_several_processes_start_as_one_does(repository, name):
    configs = repository / "bundles" / name / "configs"
    one, several = ConfigParser(), ConfigParser()
    one.read_config(str(configs / "train.yaml"))
    several.read_config([str(configs / "train.yaml"), str(configs / "multi_gpu_train.yaml")])
    for step in one["initialize"]:  # pre-trained weights were left out once
        assert step in several["initialize"]


@pytest.mark.parametrize("name", BUNDLES)
@pytest.mark.parametrize("batch, batches", [(8, 1), (6, 1), (4, 1), (2, 3)])
def test_a_rank_with_fewer_cases_than_a_batch_still_trains(
    repository, name, batch, batches, tmp_path
):
    configs = repository / "bundles" / name / "configs"
    parser = ConfigParser()
    parser.read_config([str(configs / "train.yaml"), str(configs / "multi_gpu_train.yaml")])
    parser["batch_volumes" if name == HIPPOCAMPUS else "batch_size"] = batch
    parser["train#dataset"] = list(range(12))
    parser["train#sampler#num_replicas"], parser["train#sampler#rank"] = 2, 1  # no process group
    assert len(parser.get_parsed_content("train#sampler")) == 6
    assert parser.get_parsed_content("train#epoch_length") == batches


@pytest.mark.parametrize("name", BUNDLES)
@pytest.mark.parametrize("config, kind", [("train.yaml", "train"), ("inference.yaml", "infer")])
def test_standard_ids_are_all_there(bundles, name, config, kind, tmp_path):
    data = write_cases(name, tmp_path / "data", 4)
    workflow = ConfigWorkflow(
        config_file=str(bundles / name / "configs" / config),
        meta_file=str(bundles / name / "configs" / "metadata.json"),
        workflow_type=kind,
        logging_file=False,
        bundle_root=str(bundles / name),
        dataset_dir=str(data),
        output_dir=str(tmp_path / "out"),
    )
    workflow.initialize()
    assert not workflow.check_properties()


@pytest.mark.parametrize("name", BUNDLES)
def test_every_target_comes_from_the_package_or_its_libraries(repository, name):
    for config in (repository / "bundles" / name / "configs").glob("*.yaml"):
        for line in config.read_text().splitlines():
            target = line.split("_target_:")[1].strip() if "_target_:" in line else "monai"
            assert target.split(".")[0] in PACKAGES or "." not in target


def test_training_keeps_split_best_and_resumable_checkpoint(trained):
    _, _, output, _ = trained
    state = torch.load(output / "model.pt", weights_only=True)
    assert "noise.scale" in state
    assert torch.load(output / "last.pt", weights_only=False)["epoch"] == 2
    split = json.loads((output / "split.json").read_text())
    names = [json.dumps(c) for s in ("training", "validation", "testing") for c in split[s]]
    assert len(names) == len(set(names)) == 8
    assert list((output / "tensorboard").glob("events*"))


def test_training_goes_on_where_it_stopped(trained, tmp_path):
    _, bundle, output, overrides = trained
    copy = tmp_path / "resumed"
    shutil.copytree(output, copy)
    changed = overrides | {"ckpt_dir": str(copy)}
    run_bundle(bundle, "train.yaml", output_dir=str(copy), max_epochs=3, **changed)
    resumed = torch.load(copy / "last.pt", weights_only=False)
    before = torch.load(output / "last.pt", weights_only=False)
    assert resumed["epoch"] == 3
    assert resumed["iteration"] * 2 == before["iteration"] * 3
    assert resumed["lr_scheduler"]["t_total"] == resumed["iteration"]
    rates = [saved["optimizer"]["param_groups"][0]["lr"] for saved in (before, resumed)]
    assert rates == pytest.approx([0, 0], abs=1e-9)  # each at the end of its own schedule
    assert resumed["recipe"]["mode_shares"] == [0, 0.7, 0.2, 0.1]


def test_training_starts_from_given_weights_and_judges_them_first(trained, tmp_path):
    _, bundle, output, overrides = trained
    start = output / "model.pt"
    changed = overrides | {"learning_rate": 0.0, "ckpt_dir": str(tmp_path)}
    more = {"max_epochs": 1, "start_weights": str(start)}
    run_bundle(bundle, "train.yaml", output_dir=str(tmp_path), **more, **changed)
    assert torch.load(tmp_path / "last.pt", weights_only=False)["state"]["best_epoch"] == 0
    begun, kept = (torch.load(p, weights_only=True) for p in (start, tmp_path / "model.pt"))
    assert all(torch.equal(value, kept[name]) for name, value in begun.items())


def test_evaluation_keeps_the_conditions_apart(trained, tmp_path):
    _, bundle, _, overrides = trained
    run_bundle(bundle, ["train.yaml", "evaluate.yaml"], output_dir=str(tmp_path), **overrides)
    summary = json.loads((tmp_path / "metrics.json").read_text())
    assert set(summary) == {"text_free", "text_guided_oracle", "no_condition"}
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    unsure = {row["condition"]: row["uncertainty"] for row in rows}
    assert 0 <= float(unsure["text_free"]) <= 4 and unsure["no_condition"] == ""
    found = summary["text_free"]["error_detection"]
    cases = {r["case"]: [] for r in rows}
    for row in rows:
        if row["condition"] == "text_free":
            cases[row["case"]].append(float(row["dice"]))
    assert found["failed"] == sum(np.mean(dice) < 0.5 for dice in cases.values())
    page = (tmp_path / "report.html").read_text()
    assert "cases have a Dice below 0.5" in page
    assert "data:image/png;base64" in page and "://" not in page  # base64 may spell "http"


def test_inference_writes_masks_on_the_image_grid(trained, inference, tmp_path):
    name = trained[0]
    if name == HIPPOCAMPUS:
        image, _ = two_part_volume(99)
        nib.save(nib.Nifti1Image(image, AFFINE), tmp_path / "one.nii.gz")
        mask = nib.load(inference(tmp_path) / "one_seg.nii.gz")
        assert mask.shape == image.shape and np.allclose(mask.affine, AFFINE)
        assert np.issubdtype(mask.get_data_dtype(), np.integer)
    else:
        image, _ = disc_photo(99)
        Image.fromarray(image).save(tmp_path / "one.png")
        mask = Image.open(inference(tmp_path) / "one_seg.png")
        assert mask.size == (64, 48)


def test_inference_takes_a_single_file_and_writes_table_and_overlay(trained, inference):
    name, _, _, overrides = trained
    file = sorted((Path(overrides["dataset_dir"]) / "images").iterdir())[0]
    folder = inference(file)
    rows = json.loads((folder / "summary.json").read_text())
    assert [r["label"] for r in rows] == list(
        ["anterior hippocampus", "posterior hippocampus"] if name == HIPPOCAMPUS else ["polyp"]
    )
    assert all(r["concepts_read_out"] and r["seconds"] > 0 for r in rows)
    assert len(list(folder.glob("*_overlay.png"))) == 1


def test_images_of_one_name_in_different_folders_are_all_segmented(trained, inference, tmp_path):
    name, _, _, overrides = trained
    file = sorted((Path(overrides["dataset_dir"]) / "images").iterdir())[0]
    suffix = ".nii.gz" if name == HIPPOCAMPUS else ".png"
    for patient in ("p1", "p2"):
        (tmp_path / "in" / patient).mkdir(parents=True)
        shutil.copy(file, tmp_path / "in" / patient / f"T1{suffix}")
    folder = inference(tmp_path / "in")
    masks = [folder / patient / f"T1_seg{suffix}" for patient in ("p1", "p2")]
    assert all(mask.is_file() for mask in masks)
    rows = json.loads((folder / "summary.json").read_text())
    assert {(r["case"], r["mask"]) for r in rows} == {
        (f"{mask.parent.name}/T1", str(mask)) for mask in masks
    }


def test_the_masks_of_a_data_set_are_not_segmented(trained, inference):
    _, _, _, overrides = trained
    rows = json.loads((inference(overrides["dataset_dir"]) / "summary.json").read_text())
    images = sorted((Path(overrides["dataset_dir"]) / "images").iterdir())
    assert len({row["mask"] for row in rows}) == len(images) == 8
    assert all(Path(row["mask"]).parent.name == "images" for row in rows)


def test_inference_with_a_prompt_asks_for_that_label_only(trained, inference):
    name, _, _, overrides = trained
    file = sorted((Path(overrides["dataset_dir"]) / "images").iterdir())[0]
    prompt = (
        "posterior hippocampus" if name == HIPPOCAMPUS else "2 small round polyps in the lower left"
    )
    rows = json.loads((inference(file, prompt=prompt) / "summary.json").read_text())
    assert len(rows) == 1 and rows[0]["prompt"]


def _refused(action, *words) -> None:
    """The action raises, and the root cause says all these words."""
    with pytest.raises(Exception) as caught:
        action()
    error = caught.value
    while error.__cause__ is not None:
        error = error.__cause__
    assert [w for w in words if w not in str(error)] == [], str(error)


@pytest.mark.parametrize(
    "prompt, words",
    [
        ("", ("empty",)),
        ("   ", ("empty",)),
        ("the purplest zebra", ("zebra", "vocabulary")),
        ("liver", ("liver", "classes")),
    ],
)
def test_a_bad_prompt_is_refused_and_nothing_is_written(trained, inference, prompt, words):
    _, _, _, overrides = trained
    file = sorted((Path(overrides["dataset_dir"]) / "images").iterdir())[0]
    _refused(lambda: inference(file, prompt=prompt), *words)


def test_bad_image_files_are_refused(trained, inference, tmp_path):
    name = trained[0]
    suffix = ".nii.gz" if name == HIPPOCAMPUS else ".png"
    _refused(lambda: inference(tmp_path / "absent"), "absent")
    (tmp_path / "empty").mkdir()
    _refused(lambda: inference(tmp_path / "empty"), "*.png")
    for kind, content in (("zero", b""), ("corrupt", b"no image at all")):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / f"x{suffix}").write_bytes(content)
        _refused(lambda kind=kind: inference(tmp_path / kind), f"x{suffix}")


def test_volumes_of_wrong_shape_or_content_are_refused(trained, inference, tmp_path):
    if trained[0] != HIPPOCAMPUS:
        pytest.skip("volumes belong to the other bundle")
    image, _ = two_part_volume()
    broken = image.copy()
    broken[3, 3, 3] = np.nan
    for kind, array, word in (("four", image[..., None].repeat(2, 3), "4"), ("nan", broken, "NaN")):
        (tmp_path / kind).mkdir()
        nib.save(nib.Nifti1Image(array, AFFINE), tmp_path / kind / "x.nii.gz")
        _refused(lambda kind=kind: inference(tmp_path / kind), word)


def test_one_slice_and_tiny_volumes_are_segmented(trained, inference, tmp_path):
    if trained[0] != HIPPOCAMPUS:
        pytest.skip("volumes belong to the other bundle")
    image, _ = two_part_volume()
    for kind, array in (("slice", image[:, :, 5:6]), ("tiny", image[:3, :2, :2])):
        nib.save(nib.Nifti1Image(array, AFFINE), tmp_path / f"{kind}.nii.gz")
    folder = inference(tmp_path)
    assert nib.load(folder / "slice_seg.nii.gz").shape == (20, 28, 1)
    assert nib.load(folder / "tiny_seg.nii.gz").shape == (3, 2, 2)


def test_unusual_photographs_are_segmented(trained, inference, tmp_path):
    if trained[0] != POLYP:
        pytest.skip("photographs belong to the other bundle")
    image, _ = disc_photo()
    rgba = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    Image.fromarray(image[..., 0].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(image[:5, :3]).save(tmp_path / "tiny.png")
    Image.fromarray(image).save(tmp_path / "photo.jpg")
    folder = inference(tmp_path)
    sizes = {n: Image.open(folder / f"{n}_seg.png").size for n in ("rgba", "deep", "tiny", "photo")}
    assert sizes == {"rgba": (64, 48), "deep": (64, 48), "tiny": (3, 5), "photo": (64, 48)}


def _train(bundle: Path, name: str, data: Path, output: Path) -> None:
    """One epoch."""
    run_bundle(
        bundle,
        "train.yaml",
        dataset_dir=str(data),
        output_dir=str(output),
        ckpt_dir=str(output),
        max_epochs=1,
        **small(name),
    )


def test_training_refuses_masks_that_do_not_fit(bundles, tmp_path):
    data = write_volumes(tmp_path / "size", 4)
    _, label = two_part_volume()
    for file in (data / "labels").iterdir():
        nib.save(nib.Nifti1Image(label[:-1], AFFINE), file)
    _refused(lambda: _train(bundles / HIPPOCAMPUS, HIPPOCAMPUS, data, tmp_path / "o1"), "label")
    data = write_volumes(tmp_path / "value", 4)
    for file in (data / "labels").iterdir():
        nib.save(nib.Nifti1Image(label + 5 * (label > 0).astype(np.uint8), AFFINE), file)
    _refused(lambda: _train(bundles / HIPPOCAMPUS, HIPPOCAMPUS, data, tmp_path / "o2"), "0", "2")
    data = write_volumes(tmp_path / "absent", 4)
    for file in (data / "labels").iterdir():
        nib.save(nib.Nifti1Image((label == 1).astype(np.uint8), AFFINE), file)
    _refused(
        lambda: _train(bundles / HIPPOCAMPUS, HIPPOCAMPUS, data, tmp_path / "o3"),
        "posterior hippocampus",
    )
    assert not list(tmp_path.glob("o*/model.pt"))


def test_commands_work_from_any_directory_and_fail_with_a_sentence(trained, tmp_path):
    _, bundle, output, overrides = trained
    file = sorted((Path(overrides["dataset_dir"]) / "images").iterdir())[0]
    command = [sys.executable, "-m", "monai.bundle", "run"]
    command += ["--config_file", str(bundle / "configs" / "inference.yaml")]
    command += ["--bundle_root", str(bundle), "--dataset_dir", str(file)]
    command += ["--output_dir", str(tmp_path / "out"), "--prompt", "the zebra"]
    command += ["--checkpointloader#load_path", str(output / "model.pt")]
    for key, value in overrides.items():
        if "network_def" in key or key in ("slice_size", "image_size"):
            command += [f"--{key}", str(value)]
    result = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode != 0
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("Error: expected") and "zebra" in last
    assert not (tmp_path / "out").exists()


def test_two_cpu_ranks_train_with_torchrun(bundles, tmp_path):
    data = write_volumes(tmp_path / "data", 8)  # 1 to validate on, 5 to train on
    bundle = bundles / HIPPOCAMPUS
    configs = [str(bundle / "configs" / c) for c in ("train.yaml", "multi_gpu_train.yaml")]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nnodes=1"]
    command += ["--nproc_per_node=2", "-m", "monai.bundle", "run", "--config_file", str(configs)]
    options = SMALL_HIPPOCAMPUS | {"bundle_root": str(bundle), "dataset_dir": str(data)}
    options |= {"output_dir": str(tmp_path / "out"), "ckpt_dir": str(tmp_path / "out")}
    options |= {"batch_volumes": 4}  # more than the cases of a rank
    for key, value in (options | {"max_epochs": 2}).items():
        command += [f"--{key}", str(value)]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        command,
        cwd=bundle,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    saved = torch.load(tmp_path / "out" / "last.pt", weights_only=False)
    assert saved["epoch"] == saved["iteration"] == 2
    assert (tmp_path / "out" / "model.pt").exists()


def test_a_baseline_trains_with_one_overlay(bundles, tmp_path):
    data = write_volumes(tmp_path / "data", 6)
    run_bundle(
        bundles / HIPPOCAMPUS,
        ["train.yaml", "baseline.yaml"],
        dataset_dir=str(data),
        output_dir=str(tmp_path / "out"),
        max_epochs=1,
        **{k: v for k, v in SMALL_HIPPOCAMPUS.items() if "network_def" not in k},
    )
    state = torch.load(tmp_path / "out" / "model.pt", weights_only=True)
    unet = UNet(2, 5, 2, [16, 32, 64, 128, 256], [2, 2, 2, 2], num_res_units=2, norm="batch")
    unet.load_state_dict({k.removeprefix("network."): v for k, v in state.items()})  # all of it
    steps = [n for k, n in unet.state_dict().items() if k.endswith("num_batches_tracked")]
    assert steps and min(steps) > 0  # and trained


def test_one_override_switches_to_pretrained_clipseg(bundles, tmp_path):
    folder = tmp_path / "checkpoint"
    CLIPSegForImageSegmentation(clipseg_config(TINY)).save_pretrained(folder)
    ids = {word: i for i, word in enumerate(VOCABULARY)}
    (folder / "vocab.json").write_text(json.dumps(ids))
    (folder / "merges.txt").write_text("#version: 0.2\no f</w>\n")
    data = write_photos(tmp_path / "data", 6)
    overrides = {"network_def": "@clipseg_network_def", "pretrained": str(folder)}
    overrides |= {
        f"clipseg_network_def#{part}#config": TINY
        for part in ("backbone", "text_encoder", "decoder")
    }
    overrides |= {"image_size": 64}
    run_bundle(
        bundles / POLYP,
        "train.yaml",
        dataset_dir=str(data),
        output_dir=str(tmp_path / "out"),
        ckpt_dir=str(tmp_path / "out"),
        max_epochs=1,
        cache_rate=0,
        batch_size=2,
        **overrides,
    )
    trained = torch.load(tmp_path / "out" / "model.pt", weights_only=True)
    vision = CLIPSegForImageSegmentation.from_pretrained(folder).clip.vision_model.state_dict()
    key = "encoder.layers.0.mlp.fc1.weight"
    kept = [v for k, v in trained.items() if k.endswith("vision_model." + key)]
    assert len(kept) == 1 and torch.equal(kept[0], vision[key])  # loaded, and frozen in training
    run_bundle(
        bundles / POLYP,
        "inference.yaml",
        dataset_dir=str(data / "images"),
        output_dir=str(tmp_path / "predictions"),
        prompt="small round polyp",
        **{"checkpointloader#load_path": str(tmp_path / "out" / "model.pt")},
        **overrides,
    )
    assert len(list((tmp_path / "predictions").glob("*_seg.png"))) == 6


def test_monai_label_stock_task_follows_a_concept_option(bundles, tmp_path):
    infer = pytest.importorskip("monailabel.tasks.infer.bundle")
    pytest.importorskip("nilearn", reason="nilearn carries the template")
    bundle = bundles / HIPPOCAMPUS
    if not (bundle / "models" / "model.pt").exists():
        pytest.skip("the bundle's weights are not in this checkout")
    study = write_demo_studies(tmp_path)[0]
    task = infer.BundleInferTask(str(bundle), {"preload": "false"})
    assert task.is_valid() and task.dimension == 3
    assert task.labels == {"anterior hippocampus": 1, "posterior hippocampus": 2}
    masks = {}
    for concept in ("", "anterior hippocampus"):
        request = {"image": str(study), "device": "cpu", "concept": concept}
        request |= {"prompt_strength": 1.0, "result_extension": ".nii.gz", "result_dtype": "uint8"}
        path, _ = task(request)
        masks[concept] = np.asarray(nib.load(path).dataobj)
    assert masks[""].shape == nib.load(study).shape
    assert np.unique(masks[""]).tolist() == [0, 1, 2]
    assert np.unique(masks["anterior hippocampus"]).tolist() == [0, 1]
