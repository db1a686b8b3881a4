"""What the self-test found out about an environment and whoever plays it must know before."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rollback_py.env_game import EnvGame


class EnvironmentWarning(UserWarning):
    """What is to be played is not what it is perhaps taken for."""


def troubles(game: EnvGame, spec: str, *, expects_rollback: bool) -> dict[str, str]:
    """Return a line for each trouble, by its name: what is wrong, what follows, the remedy."""
    found = game.findings
    told: dict[str, str] = {}
    if found.instances_differ is not None:
        told["not_deterministic"] = (
            f"{spec} is not deterministic ({found.instances_differ} differs between two with the "
            "same seed), so the members' states will part: seed every generator in "
            f"reset(seed=…), and see what `rollback check {spec}` names"
        )
    elif expects_rollback and not game.can_rollback:  # else it may be so for the same reason
        why = "; ".join(found.rejected)
        told["lockstep"] = (
            f"{spec} cannot be saved ({why}), so it is played in lockstep, where every frame waits "
            f"for everybody: change that, or give rb.SnapshotOptions(save=…, load=…); "
            f"`rollback check {spec}` tells more"
        )
    return told


def warn(name: str, text: str) -> None:
    """Tell it as Python tells warnings; `name` is for those who tell otherwise."""
    warnings.warn(EnvironmentWarning(text), stacklevel=3)
