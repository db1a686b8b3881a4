"""The policies of a command line: one for an agent by its name, one for all others."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from rollback_py.environment import Factory
from rollback_py.simulation import Simulation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rollback_py.policies import Policy


def policies_of(words: Sequence[str], env: Factory) -> dict[str, Callable[[], Policy]]:
    """Read ``[AGENT=]MODULE:FUNCTION``s; what makes the policy of each agent, by its name.

    Raises `ValueError` for an agent that the environment does not have or that has two, and where
    one has none.
    """
    with closing(Simulation(env)) as simulation:
        agents = [str(agent) for agent in simulation.agents]
    others: Callable[[], Policy] | None = None
    named: dict[str, Callable[[], Policy]] = {}
    for word in words:
        agent, sign, spec = word.rpartition("=")
        makes = _policy(spec)
        if sign and agent not in agents:
            raise ValueError(f"--policy: there is no agent {agent!r}: the agents are {agents}")
        if agent in named or (not sign and others is not None):
            whose = f"agent {agent!r}" if sign else "all that are not named"
            raise ValueError(f"--policy: expected one for {whose}, got a second: {spec}")
        if sign:
            named[agent] = makes
        else:
            others = makes
    without = [agent for agent in agents if agent not in named]
    if others is None and without:
        raise ValueError(
            f"--policy: there is none for {without}: name one for each, or one without AGENT="
        )
    return {agent: named.get(agent, others) for agent in agents}  # type: ignore[misc]


def _policy(spec: str) -> Callable[[], Policy]:
    """Import a policy by the name that this computer's user gave."""
    policy: Any = Factory.from_spec(spec).function
    return policy if isinstance(policy, type) else lambda: policy
