"""The handler that keeps checkpoints: a resumed run goes on, also with its augmentation."""

from types import SimpleNamespace

import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import DataLoader, Dataset
from monai.transforms import Compose, RandGaussianNoised

from conceptseg.decoder import PyramidDecoder
from conceptseg.training import CheckpointKeeper, set_epoch_length


def run_of(folder, network=None, **options) -> tuple[CheckpointKeeper, SimpleNamespace]:
    """A keeper and its engine, as at the start of a process."""
    torch.manual_seed(0)
    network = network or torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer)
    evaluator = SimpleNamespace(state=SimpleNamespace(iteration=0, metrics={}))
    paths = (str(folder / "model.pt"), str(folder / "last.pt"))
    keeper = CheckpointKeeper(network, optimizer, schedule, evaluator, *paths, **options)
    noise = Compose([RandGaussianNoised("image", prob=1)])
    data = Dataset([{"image": torch.zeros(1, 4, 4)}] * 3, noise)
    loader = DataLoader(data, batch_size=1, num_workers=0)
    return keeper, SimpleNamespace(
        state=SimpleNamespace(epoch=0, iteration=0, dataloader=loader), data=data
    )


def epoch(engine) -> torch.Tensor:
    """The images of one epoch."""
    return torch.cat([batch["image"] for batch in engine.state.dataloader])


def test_a_resumed_run_does_not_repeat_the_first_epoch_s_augmentation(tmp_path):
    keeper, engine = run_of(tmp_path)
    keeper._load(engine)  # nothing to go on from
    first = epoch(engine)
    engine.state.epoch, engine.state.iteration = 1, 3
    keeper._save(engine)
    keeper, engine = run_of(tmp_path)
    keeper._load(engine)
    assert engine.state.epoch == 1 and engine.state.iteration == 3
    second = epoch(engine)
    assert not torch.isclose(first, second).any()
    keeper, engine = run_of(tmp_path)
    keeper._load(engine)
    assert torch.equal(epoch(engine), second)  # and again the same when resumed again


def test_a_run_begun_with_another_form_of_the_network_is_not_resumed(tmp_path):
    keeper, engine = run_of(tmp_path, PyramidDecoder((4, 8), 6, join="add"))
    engine.state.epoch = 1
    keeper._save(engine)
    keeper, engine = run_of(tmp_path, PyramidDecoder((4, 8), 6, join="add"))
    keeper._load(engine)
    assert engine.state.epoch == 1
    keeper, engine = run_of(tmp_path, PyramidDecoder((4, 8), 6, join="concat"))
    with pytest.raises(ValueError, match=r"last\.pt the network of this recipe.*start_weights"):
        keeper._load(engine)


def test_the_start_is_judged_first_and_kept_where_training_makes_it_worse(tmp_path):
    keeper, engine = run_of(tmp_path, judge_start=True)
    state = keeper.evaluator.state
    state.key_metric_name = "dice"
    keeper.evaluator.run = lambda: setattr(state, "metrics", {"dice": 0.7})
    keeper._load(engine)
    start = keeper.network.weight.detach().clone()
    for number, dice, kept in ((1, 0.6, 0), (2, 0.8, 2)):
        engine.state.epoch, state.iteration, state.metrics = number, 1, {"dice": dice}
        with torch.no_grad():
            keeper.network.weight.fill_(number)
        keeper._after_epoch(engine)
        assert keeper.state["best_epoch"] == kept
        saved = torch.load(tmp_path / "model.pt", weights_only=True)["weight"]
        assert torch.equal(saved, keeper.network.weight if kept else start)
    keeper, engine = run_of(tmp_path, judge_start=True)
    keeper._load(engine)  # a resumed run has judged it already
    assert keeper.state["best_metric"] == 0.8


def test_an_epochs_length_is_set_in_configs_made_before_too():
    parser = ConfigParser({"train": {"epoch_length": "$9", "trainer": {"max_epochs": 1}}})
    set_epoch_length(parser, "$max(2, 3)")
    assert parser.get_parsed_content("train#trainer#epoch_length") == 3
    assert parser.get_parsed_content("train#epoch_length") == 3
