"""A stopped training's state under the config now given: moments and position stay, settings are new."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def restore_optimizer(optimizer: Optimizer, saved: dict[str, Any]) -> None:
    """Take over the moments of `saved`; learning rate, weight decay and the like stay as configured."""
    configured = [
        {name: value for name, value in group.items() if name != "params"}
        for group in optimizer.param_groups
    ]
    optimizer.load_state_dict(saved)
    for group, own in zip(optimizer.param_groups, configured, strict=True):
        group.update(own)


def restore_schedule(schedule: Any, saved: dict[str, Any], step: int) -> None:
    """Put a schedule where `saved` stopped, and its learning rate into its optimizer.

    A `LambdaLR`, such as MONAI's `WarmupCosineSchedule`, gives the rate that its own settings have at
    `step`. Others follow from their last rate, so they go on with the settings of `saved`.

    Args:
        schedule: of an optimizer that is restored already.
        saved: its `state_dict` of then.
        step: steps done, should `saved` count them.
    """
    configured = schedule.state_dict()
    schedule.load_state_dict(saved)
    if isinstance(schedule, LambdaLR):
        before = {"last_epoch": step - 1, "_step_count": saved["_step_count"] - 1}
        schedule.load_state_dict(configured | before)
        schedule.step()  # sets the rate of `step`
        return
    for group, rate in zip(schedule.optimizer.param_groups, schedule.get_last_lr(), strict=True):
        group["lr"] = rate


def describe_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs between two recipes, as "paired (True then, False now)"; empty: nothing.

    Entries that one of them lacks are passed over, as in a checkpoint written before they were kept.
    """
    return ", ".join(
        f"{name} ({before[name]} then, {value} now)"
        for name, value in now.items()
        if name in before and before[name] != value
    )
