"""One environment as a simulation of bytes: seed in, actions in, outputs out. It saves nothing."""

from __future__ import annotations

import copy
import random
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

from gymnasium.vector import VectorEnv

from rollback_py._rollback import ActionCodec, OutputCodec, RollbackError
from rollback_py.drawing import drawing, hold_back
from rollback_py.global_random import GlobalRandom
from rollback_py.layers import innermost, layers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

# The name of the only agent of a single-agent environment.
SINGLE_AGENT = "agent"

# The seed of the global generators while an environment is made, so that a constructor which draws
# from them makes the same environment everywhere.
_MAKING_SEED = 0


class EnvironmentUnsuitableError(RollbackError):
    """The environment cannot be played with rollback as it is; the message says what to change."""


class Simulation:
    """An environment made by a factory, stepped with one action of bytes for each player."""

    def __init__(
        self,
        factory: Callable[[], Any],
        *,
        idle: Mapping[Any, Any] | None = None,
        observations: bool = False,
        excluded_info_keys: frozenset[str] = frozenset(),
        uses_global_random: bool = False,
        holds_drawing_back: bool = False,
    ) -> None:
        self.factory = factory
        with GlobalRandom(_MAKING_SEED):
            self.env: Any = factory()
        try:
            _refuse_unsuitable(self.env)
            self._look(idle, observations, excluded_info_keys)
        except BaseException:
            with suppress(Exception):  # it may be anything, and what was raised says more
                self.env.close()
            raise
        if holds_drawing_back:
            hold_back(self.env)
        self.globals: GlobalRandom | None = (
            GlobalRandom(_MAKING_SEED) if uses_global_random else None
        )
        self._guard: AbstractContextManager[None] = self.globals or nullcontext()
        # What the last step returned: observations, rewards, terminations, truncations, infos.
        self.returned: tuple[Any, Any, Any, Any, Any] = ({}, {}, {}, {}, {})
        self.ended = False

    def _look(
        self,
        idle: Mapping[Any, Any] | None,
        observations: bool,
        excluded_info_keys: frozenset[str],
    ) -> None:
        """See who plays, and how actions and outputs become bytes."""
        self.is_single = not hasattr(self.env, "possible_agents")
        self.agents: list[Any] = (
            [SINGLE_AGENT] if self.is_single else list(self.env.possible_agents)
        )
        unknown = [agent for agent in idle or () if agent not in self.agents]
        if unknown:
            raise ValueError(f"idle: expected agents of {self.agents}, got {unknown[0]!r}")
        self.action_spaces: list[Any] = [self._action_space(agent) for agent in self.agents]
        self.codec = ActionCodec(
            self.agents, self.action_spaces, idle=None if idle is None else dict(idle)
        )
        self.excluded_info_keys = excluded_info_keys | known_info_keys(self.env)
        self._outputs = OutputCodec(
            self.agents,
            excluded_info_keys=self.excluded_info_keys,
            with_observations=observations,
        )

    def reset(self, seed: int) -> None:
        """Begin an episode. The seed is a plain non-negative int."""
        seed = int(seed)
        if self.globals is not None:
            self.globals.seed(seed)
        with self._guard:
            observations, infos = self.env.reset(seed=seed)
        if self.is_single:
            observations, infos = {SINGLE_AGENT: observations}, {SINGLE_AGENT: infos}
        self.returned = (observations, {}, {}, {}, infos)
        self.ended = False

    def step(self, actions: list[bytes]) -> bool:
        """Simulate one frame with the actions in player order; return whether the episode ended."""
        env = self.env
        if self.is_single:
            action, _ = self.codec.decode(0, actions[0])
            with self._guard:
                returned = env.step(action)
            self.returned = tuple({SINGLE_AGENT: value} for value in returned)  # type: ignore[assignment]
            self.ended = bool(returned[2] or returned[3])
            return self.ended
        joint = self.codec.decode_joint(actions, list(env.agents))
        if self.globals is None:
            self.returned = env.step(joint)
        else:
            with self.globals:
                self.returned = env.step(joint)
        agents = env.agents
        if agents:
            _, _, terminations, truncations, _ = self.returned
            self.ended = all(terminations.get(a) or truncations.get(a) for a in agents)
        else:
            self.ended = True
        return self.ended

    def output(self) -> bytes:
        """Return what the last step returned, as canonical bytes."""
        return self._outputs.encode(*self.returned)

    def decode_output(self, encoded: bytes) -> dict[str, Any]:
        """Decode what `output` made; hostile bytes are an `EncodingError`."""
        return self._outputs.decode(encoded)

    @property
    def dropped_outputs(self) -> list[str]:
        """The paths of infos and observations that were left out since they are not plain."""
        return self._outputs.dropped

    def render(self) -> Any:
        """Draw the environment as it is now."""
        with self._guard, drawing(self.env):
            return self.env.render()

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def _action_space(self, agent: Any) -> Any:
        return self.env.action_space if self.is_single else self.env.action_space(agent)


class RandomActions:
    """Actions of all players drawn from the spaces, the same for the same seed."""

    def __init__(self, simulation: Simulation, seed: int) -> None:
        # Copies: the environment may itself draw from its spaces.
        self._spaces = [copy.deepcopy(space) for space in simulation.action_spaces]
        source = random.Random(seed)
        for space in self._spaces:
            space.seed(source.randrange(2**31))
        self._simulation = simulation

    def draw(self) -> list[bytes]:
        """Draw the actions of one frame; a mask in the observation is respected."""
        simulation = self._simulation
        observations = simulation.returned[0]
        actions = []
        for player, (agent, space) in enumerate(zip(simulation.agents, self._spaces, strict=True)):
            observation = observations.get(agent)
            mask = observation.get("action_mask") if isinstance(observation, dict) else None
            action = space.sample() if mask is None else space.sample(mask=mask)
            actions.append(simulation.codec.encode(player, action))
        return actions


def known_info_keys(env: Any) -> frozenset[str]:
    """Info keys that are known to hold wall-clock times."""
    return frozenset(
        str(getattr(layer, "_stats_key", "episode"))
        for layer in layers(env)
        if type(layer).__name__ in ("RecordEpisodeStatistics", "RecordEpisodeStatisticsV0")
    )


def _refuse_unsuitable(env: Any) -> None:
    if getattr(innermost(env), "render_mode", None) == "human":
        raise EnvironmentUnsuitableError(
            "the environment was made with render_mode='human': it would draw and wait in every "
            "replayed frame; make it with render_mode='rgb_array' or without"
        )
    if hasattr(env, "agent_iter"):
        raise EnvironmentUnsuitableError(
            "this is an AEC environment; wrap it with "
            "pettingzoo.utils.aec_to_parallel or turn_based_aec_to_parallel"
        )
    if isinstance(env, VectorEnv):
        raise EnvironmentUnsuitableError(
            f"the factory returned a {type(env).__name__}, which is many environments at once: "
            "expected a PettingZoo ParallelEnv or a gymnasium Env, as of gymnasium.make"
        )
    for name in ("reset", "step", "action_space"):
        if not hasattr(env, name):
            raise EnvironmentUnsuitableError(
                f"the factory returned a {type(env).__name__}, which has no {name}: expected a "
                "PettingZoo ParallelEnv or a gymnasium Env"
            )
