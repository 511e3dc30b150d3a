"""From the catalogue to networks: every contestant is built from the bundles' own configs."""

import pytest
import torch
from monai.bundle import ConfigParser

from conceptseg.benchmark import recipe
from conceptseg.benchmark.matrix import Contestant, DataSet, RunSpec, read_matrix
from conceptseg.network import ConceptSegNet
from conceptseg.plain import PlainSegNet

SPEC = RunSpec("x", "y", 1.0, 7, "images", 1000)
SETS = ("kvasir", "hippocampus")


@pytest.fixture(scope="module")
def matrices(repository):
    folder = repository / "docs" / "benchmarks"
    return {name: read_matrix(folder / f"{name}.yaml") for name in ("gpu", "ablation", "cpu")}


def config(repository, data_set: DataSet, contestant: Contestant, **options) -> ConfigParser:
    """The contestant's config on a data set, for small images."""
    root = repository / "bundles" / data_set.bundle
    parser = recipe.read_config(root, data_set, contestant, SPEC, **options)
    for key in ("image_size", "slice_size"):
        if key in parser.get():
            parser[key] = 64
    return parser


@pytest.mark.parametrize("data_set", SETS)
@pytest.mark.parametrize("name", ["gpu", "ablation"])
def test_every_contestant_segments(repository, matrices, name, data_set):
    data_set = matrices[name].data_sets[data_set]
    for contestant in matrices[name].contestants.values():
        parser = config(repository, data_set, contestant)
        torch.manual_seed(0)
        network = parser.get_parsed_content("network_def").eval()
        labels = len(parser.get_parsed_content("keywords"))
        channels = parser.get_parsed_content("in_channels")
        with torch.no_grad():
            logits = network(torch.rand(1, channels, 64, 64))
        assert logits.shape == (1, labels + 1, 64, 64), contestant.name
        assert isinstance(network, PlainSegNet) == contestant.plain


def test_a_run_leaves_the_recipe_of_the_next_one_as_it_was(repository, matrices):
    data_set, contestant = (
        matrices["gpu"].data_sets["kvasir"],
        matrices["gpu"].contestants["segresnet"],
    )
    first = config(repository, data_set, contestant)
    before = recipe.fingerprint(first, SPEC, contestant)
    first.get_parsed_content("network_def")
    after = recipe.fingerprint(config(repository, data_set, contestant), SPEC, contestant)
    assert after == before


def test_ours_is_the_bundles_own_recipe_and_compact(repository, matrices):
    for name in SETS:
        data_set = matrices["gpu"].data_sets[name]
        ours = config(repository, data_set, matrices["gpu"].contestants["ours"])
        own = ConfigParser()
        own.read_config(repository / "bundles" / data_set.bundle / "configs" / "train.yaml")
        for key in ("network_def", "loss", "optimizer", "mode_shares", "learning_rate"):
            assert ours.get(key) == own.get(key)
        network = ours.get_parsed_content("network_def")
        assert isinstance(network, ConceptSegNet)
        assert sum(p.numel() for p in network.parameters()) <= 10e6


def test_plain_networks_measure_no_concepts_and_clipseg_always_reads(repository, matrices):
    def prompts(name):
        data_set = matrices["gpu"].data_sets["kvasir"]
        contestant = matrices["gpu"].contestants[name]
        parser = config(repository, data_set, contestant)
        return parser.get("mode_shares"), parser.get("train")["random_transforms"][-1]

    shares, transform = prompts("unet")
    assert transform["_target_"].endswith("PlainTargetsd") and shares == [1, 0, 0, 0]
    shares, transform = prompts("clipseg")
    assert transform["_target_"].endswith("ConceptPromptd") and shares == [0, 1, 0, 0]
    assert (transform["component_share"], transform["contradiction_share"]) == (0, 0)


def test_the_same_augmentation_for_every_contestant(repository, matrices):
    data_set = matrices["gpu"].data_sets["kvasir"]
    kinds = [
        config(repository, data_set, c).get("train")["random_transforms"][:-1]
        for c in matrices["gpu"].contestants.values()
    ]
    assert all(kind == kinds[0] for kind in kinds)


def test_a_learning_rate_and_a_contestants_settings_come_over_the_config(repository, matrices):
    data_set, ours = (matrices["cpu"].data_sets["kvasir"], matrices["cpu"].contestants["ours"])
    parser = config(repository, data_set, ours, learning_rate=0.5)
    assert parser.get_parsed_content("learning_rate") == 0.5
    assert (parser.get("seed"), parser.get("patience")) == (7, 0)
    trial = ours.trial("x", {"learning_rate": 0.25, "prompt#short_share": 0.75})
    parser = config(repository, data_set, trial, learning_rate=0.5)
    assert parser.get("learning_rate") == 0.25
    assert parser.get("train")["random_transforms"][-1]["short_share"] == 0.75


def test_the_fingerprint_follows_the_recipe_not_the_seed(repository, matrices):
    data_set, ours = (matrices["cpu"].data_sets["kvasir"], matrices["cpu"].contestants["ours"])
    root = repository / "bundles" / data_set.bundle

    def print_of(contestant, spec):
        parser = recipe.read_config(root, data_set, contestant, spec)
        return recipe.fingerprint(parser, spec, contestant)

    other_seed = RunSpec("x", "y", 1.0, 8, "images", 1000)
    other_budget = RunSpec("x", "y", 1.0, 7, "images", 2000)
    assert print_of(ours, SPEC) == print_of(ours, other_seed)
    assert print_of(ours, SPEC) != print_of(ours, other_budget)
    assert print_of(ours, SPEC) != print_of(ours.trial("x", {"learning_rate": 0.5}), SPEC)


def test_missing_configs_and_prompt_transforms_are_named(repository, tmp_path, matrices):
    data_set, ours = (matrices["cpu"].data_sets["kvasir"], matrices["cpu"].contestants["ours"])
    with pytest.raises(FileNotFoundError, match=r"train\.yaml"):
        recipe.read_config(tmp_path, data_set, ours, SPEC)
    bare = ours.trial("x", {"train#random_transforms": [], "prompt#short_share": 0.5})
    with pytest.raises(ValueError, match="ConceptPromptd among"):
        config(repository, data_set, bare)
