"""The handler that keeps checkpoints: a resumed run goes on, under the settings it is given."""

import logging
from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine
from monai.bundle import ConfigParser
from monai.data import DataLoader, Dataset
from monai.handlers import LrScheduleHandler
from monai.optimizers import WarmupCosineSchedule
from monai.transforms import Compose, RandGaussianNoised

from conceptseg.decoder import PyramidDecoder
from conceptseg.resuming import restore_optimizer, restore_schedule
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
        state=SimpleNamespace(
            epoch=0, iteration=0, epoch_length=3, max_epochs=5, dataloader=loader
        ),
        data=data,
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


STEPS = 4  # of an epoch


def train(folder, epochs, rate=1.0, decay=0.0, steps=STEPS, warmup=2, waited=0, **options):
    """Run the keeper's whole life over `epochs`: the rate of every step, the optimizer, the keeper."""
    network = torch.nn.Linear(2, 1)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=decay)
    schedule = WarmupCosineSchedule(optimizer, warmup_steps=warmup, t_total=epochs * steps)
    evaluator = SimpleNamespace(state=SimpleNamespace(iteration=0, metrics={}))
    paths = (str(folder / "model.pt"), str(folder / "last.pt"))
    keeper = CheckpointKeeper(network, optimizer, schedule, evaluator, *paths, **options)
    keeper.state["waited"] = waited
    rates = []

    def step(engine, batch):
        rates.append(optimizer.param_groups[0]["lr"])
        network(torch.ones(1, 2)).sum().backward()
        optimizer.step()

    trainer = Engine(step)
    LrScheduleHandler(schedule, print_lr=False, epoch_level=False).attach(trainer)
    keeper.attach(trainer)
    trainer.run(range(steps), max_epochs=epochs)
    return rates, optimizer, keeper


def test_a_finished_run_with_more_epochs_follows_the_rate_of_the_longer_schedule(tmp_path):
    first, *_ = train(tmp_path / "a", 2)
    assert first[0] == 0 and first[2] == 1
    longer, *_ = train(tmp_path / "b", 5)
    assert first[-1] < longer[2 * STEPS] < 1
    resumed, *_ = train(tmp_path / "a", 5)
    assert resumed == pytest.approx(longer[2 * STEPS :])
    assert resumed == sorted(resumed, reverse=True)  # falls: it never climbs back


def test_a_stopped_run_goes_on_at_the_very_rate_and_with_its_moments(tmp_path, monkeypatch):
    whole, optimizer, _ = train(tmp_path / "a", 4)
    monkeypatch.setattr(CheckpointKeeper, "_after_epoch", stopping(2))
    begun, *_ = train(tmp_path / "b", 4)
    monkeypatch.undo()
    resumed, again, _ = train(tmp_path / "b", 4)
    assert len(begun) == 2 * STEPS and begun + resumed == pytest.approx(whole)
    states = [next(iter(o.state.values())) for o in (optimizer, again)]
    assert states[0]["step"] == states[1]["step"] == 4 * STEPS


def stopping(epoch):
    """The keeper's handler of an epoch's end, with which the run ends after `epoch`."""
    original = CheckpointKeeper._after_epoch

    def after_epoch(self, engine):
        original(self, engine)
        if engine.state.epoch == epoch:
            engine.terminate()

    return after_epoch


def test_learning_rate_and_weight_decay_given_on_resume_are_taken(tmp_path):
    train(tmp_path, 2)
    resumed, optimizer, _ = train(tmp_path, 4, rate=0.5, decay=0.3)
    expected, *_ = train(tmp_path / "whole", 4, rate=0.5)
    assert resumed == pytest.approx(expected[2 * STEPS :])
    assert optimizer.param_groups[0]["weight_decay"] == 0.3


def test_epochs_of_another_length_are_counted_as_epochs(tmp_path):
    train(tmp_path, 2)
    resumed, *_ = train(tmp_path, 4, steps=2, warmup=1)
    expected, *_ = train(tmp_path / "whole", 4, steps=2, warmup=1)
    assert len(resumed) == 2 * 2  # eight steps are done already, as many as four epochs have now
    assert resumed == pytest.approx(expected[2 * 2 :])


def test_a_resumed_run_says_from_which_epoch_it_goes_on(tmp_path, caplog):
    train(tmp_path, 2)
    with caplog.at_level(logging.INFO, "conceptseg.training"):
        train(tmp_path, 3)
    assert "training goes on from epoch 3 of 3" in caplog.text


@pytest.mark.parametrize("epochs", [2, 1])
def test_a_finished_run_trains_nothing_and_says_what_to_do(tmp_path, caplog, epochs):
    train(tmp_path, 2)
    rates, *_ = train(tmp_path, epochs)
    assert not rates
    assert f"is at epoch 2 of {epochs}; raise max_epochs" in caplog.text
    assert "another output_dir" in caplog.text


def test_a_run_that_stopped_early_trains_on_only_with_more_patience(tmp_path, caplog):
    train(tmp_path, 2, waited=3)
    rates, _, keeper = train(tmp_path, 4, patience=3)
    assert not rates and keeper.state["waited"] == 3
    assert "stopped early after epoch 2" in caplog.text and "raise patience" in caplog.text
    rates, *_ = train(tmp_path, 4, patience=4)
    assert len(rates) == 2 * STEPS


def test_a_resumed_run_names_what_its_recipe_changes(tmp_path, caplog):
    train(tmp_path, 1, recipe={"paired": True, "keywords": ["polyp"]})
    train(tmp_path, 2, recipe={"paired": True, "keywords": ["polyp"], "new": 1})
    assert "recipe" not in caplog.text
    train(tmp_path, 3, recipe={"paired": False, "keywords": ["polyp"], "new": 1})
    assert "another recipe: paired (True then, False now);" in caplog.text


def test_a_checkpoint_without_a_recipe_is_resumed_without_a_word_about_it(tmp_path, caplog):
    train(tmp_path, 1)
    saved = torch.load(tmp_path / "last.pt", weights_only=False)
    del saved["recipe"]
    torch.save(saved, tmp_path / "last.pt")
    rates, *_ = train(tmp_path, 2, recipe={"paired": False})
    assert len(rates) == STEPS and not caplog.text


def test_a_schedule_that_follows_from_its_last_rate_goes_on_with_it(tmp_path):
    def schedule_of(rate):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=rate)
        return torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)

    first, second = schedule_of(1.0), schedule_of(1.0)
    for _ in range(3):
        first.optimizer.step()
        first.step()
    restore_optimizer(second.optimizer, first.optimizer.state_dict())
    restore_schedule(second, first.state_dict(), 3)
    assert second.optimizer.param_groups[0]["lr"] == 0.125
    second.optimizer.step()
    second.step()
    assert second.optimizer.param_groups[0]["lr"] == 0.0625
