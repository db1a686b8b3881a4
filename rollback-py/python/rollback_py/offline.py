"""Episodes played by one computer alone, through the engine and the recording of a match."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from rollback_py._rollback import record_offline as _record_offline
from rollback_py.env_game import EnvGame
from rollback_py.environment import EnvironmentDigest, Factory
from rollback_py.policies import BY_POLICY, Policy
from rollback_py.recorded_facts import as_recorded, settings_of
from rollback_py.recordings import Recording, factory_of
from rollback_py.settings import FRAMES_MAX, LIMITS, SEED_MAX, require_number
from rollback_py.simulation import RandomActions

if TYPE_CHECKING:
    from rollback_py.snapshots import SnapshotOptions

# One computer waits for nobody: the engine's own defaults, and nothing to predict.
_ALONE = {
    "input_delay": 0,
    "prediction_window": 0,
    "report_interval": 10,
    "members_min": 1,
    "late": [],
    "departure_timeout_ms": 5000,
    "silence": "depart",
    "linger_ms": 0,
    "on_desync": ("end", None),
}


def record_offline(
    env: Callable[[], Any] | str | Factory,
    policies: Mapping[Any, Policy] | None,
    seed: int,
    frames: int,
    path: str | os.PathLike[str],
    *,
    fps: int = 30,
    observations: bool = False,
    participant: str = "offline",
    idle: Mapping[Any, Any] | None = None,
    snapshots: SnapshotOptions | None = None,
) -> Recording:
    """Play an episode without a partner or a network, as fast as it goes, and record it.

    For pilot data and tests: the recording is as that of a match. `policies` gives each agent's
    policy; agents without one do nothing. Without any, actions are drawn at random from the
    spaces, the same for the same seed. The episode ends with the environment's, or after `frames`
    frames. There must be no file at `path`.
    """
    require_number("seed", seed, 0, SEED_MAX)
    require_number("frames", frames, 0, FRAMES_MAX)
    require_number("fps", fps, *LIMITS["fps"])
    factory = factory_of(env)
    game = EnvGame(factory, idle=idle, observations=observations, snapshots=snapshots)
    try:
        game.reset(seed)
        facts = EnvironmentDigest.of(factory, game.env, settings_of(game, observations))
        _record_offline(
            game,
            _RandomPlayers(game, seed) if policies is None else _PolicyPlayers(game, policies),
            path=os.fspath(path),
            seed=seed,
            frames=frames,
            config=_ALONE | _of_game(game) | {"fps": fps},
            participant=participant,
            must_match=as_recorded(facts.must_match),
            may_differ=as_recorded(facts.may_differ),
        )
    finally:
        game.close()
    return Recording.open(path)


class _RandomPlayers:
    """Draws every agent's action from its space."""

    def __init__(self, game: EnvGame, seed: int) -> None:
        self._actions = RandomActions(game.simulation, seed)

    def __call__(self) -> list[tuple[bytes, int]]:
        return [(action, BY_POLICY) for action in self._actions.draw()]


class _PolicyPlayers:
    """Asks the policies of the agents that have one."""

    def __init__(self, game: EnvGame, policies: Mapping[Any, Policy]) -> None:
        unknown = [agent for agent in policies if agent not in game.agents]
        if unknown:
            raise ValueError(f"there is no agent {unknown[0]!r}: the agents are {game.agents}")
        self._game = game
        self._policies = policies

    def __call__(self) -> list[tuple[bytes, int]]:
        return [self._act(player, agent) for player, agent in enumerate(self._game.agents)]

    def _act(self, player: int, agent: Any) -> tuple[bytes, int]:
        observation = self._game.observation(player)
        if agent not in self._policies or observation is None:
            return self._game.idle_action(player), 0
        action = self._policies[agent](observation)
        return self._game.encode_action(player, action), BY_POLICY


def _of_game(game: EnvGame) -> dict[str, Any]:
    return {"players": len(game.agents), "idle_input": game.idle_action(0)}
