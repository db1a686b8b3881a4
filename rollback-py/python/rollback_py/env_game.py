"""An environment as the game of a rollback session: what the engine calls, frame by frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rollback_py._rollback import DivergedError, RollbackError, hash_bytes
from rollback_py.self_test import Examiner, Findings
from rollback_py.settings import SEED_MAX, require_number
from rollback_py.simulation import Simulation
from rollback_py.snapshots import (
    ByMethods,
    EnvSnapshot,
    Keeper,
    Leaves,
    NotSnapshotableError,
    SnapshotOptions,
    candidates,
)
from rollback_py.state_transfer import (
    NotTransferableError,
    export_state,
    export_to_be_seen,
    import_state,
    try_transfer,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Frames of the self-test at the start: a few of them show every loss of state that was ever seen,
# and cost well under a second even where a step costs milliseconds.
SELF_TEST_FRAMES = 30


class EnvGame:
    """A PettingZoo ParallelEnv or gymnasium Env that can be saved, restored, stepped and hashed.

    Players are the environment's `possible_agents`, in that order; a gymnasium environment has the
    one player ``"agent"``. The environment is made by the factory, more than once: the self-test
    has its own.
    """

    def __init__(
        self,
        factory: Callable[[], Any],
        *,
        idle: Mapping[Any, Any] | None = None,
        observations: bool = False,
        snapshots: SnapshotOptions | None = None,
        self_test_seed: int = 0,
        self_test_frames: int = SELF_TEST_FRAMES,
        findings: Findings | None = None,
    ) -> None:
        """Make the environment and choose how it is saved.

        `idle` gives the action of an agent who does nothing, where it is not the space's first.
        `observations` puts them into the outputs. `findings` of an earlier `EnvGame` of the same
        factory and options save the self-test.
        """
        options = snapshots or SnapshotOptions()
        self.findings = (
            findings
            or Examiner(
                factory, seed=self_test_seed, frames=self_test_frames, options=options, idle=idle
            ).examine()
        )
        self._factory = factory
        self._options = options
        self._idle = idle
        self._observations = observations
        self._has_played = False
        self._seed = 0
        # What was stepped since `reset`, of an environment that cannot be saved.
        self._stepped: list[list[bytes]] = []
        self.withheld: str | None = None
        """Why a state could not be given to another computer since `reset`, if one could not."""
        self.refusal: str | None = None
        """Why the state of another computer could not be taken over since `reset`, likewise."""
        self.simulation = self._make_simulation()
        try:
            self._keeper = self._make_keeper()
        except BaseException:
            self.close()
            raise

    def _make_simulation(self) -> Simulation:
        return Simulation(
            self._factory,
            idle=self._idle,
            observations=self._observations,
            excluded_info_keys=self.findings.excluded_info_keys,
            uses_global_random=self.findings.uses_global_random,
            holds_drawing_back=self.findings.holds_drawing_back,
        )

    def _make_keeper(self) -> Keeper | None:
        found = self.findings
        for strategy in candidates(self.simulation, self._options, found.unhashed):
            if strategy.name == found.strategy:
                if isinstance(strategy, ByMethods):
                    strategy.copies_on_save = found.copies_on_save
                    strategy.copies_on_load = found.copies_on_load
                return Keeper(self.simulation, strategy)
        return None

    @property
    def env(self) -> Any:
        """The environment itself. It stays the same object whatever is restored."""
        return self.simulation.env

    @property
    def agents(self) -> list[Any]:
        """The agents in player order, as the environment calls them."""
        return self.simulation.agents

    @property
    def players(self) -> list[str]:
        """The agents' names in player order."""
        return [str(agent) for agent in self.simulation.agents]

    @property
    def width(self) -> int:
        """Bytes of one player's action, the same for all players."""
        return self.simulation.codec.width

    @property
    def can_rollback(self) -> bool:
        """Whether states can be saved; if not, only lockstep is possible."""
        return self._keeper is not None

    @property
    def keeper(self) -> Keeper:
        """What saves and restores; raises `NotSnapshotableError` if nothing can."""
        if self._keeper is None:
            raise NotSnapshotableError(self.findings.rejected)
        return self._keeper

    @property
    def strategy(self) -> str | None:
        """The name of the way of saving: user, get_state, clone_state or structural."""
        return self.findings.strategy

    @property
    def ended(self) -> bool:
        """Whether the episode ended with the last step."""
        return self.simulation.ended

    @property
    def invalid_actions(self) -> int:
        """How many times bytes were stepped that are no action, and so the idle action was."""
        return self.simulation.codec.invalid_actions

    def reset(self, seed: int) -> None:
        """Begin an episode from a plain non-negative int.

        If an earlier episode would change this one, it gets a new environment, so that a peer who
        joins later and one who verifies the recording see the same.
        """
        require_number("seed", seed, 0, SEED_MAX)
        if self._has_played and self.findings.resets_differ is not None:
            self.simulation.close()
            self.simulation = self._make_simulation()
            self._keeper = self._make_keeper()
        self._has_played = True
        self._seed, self._stepped = seed, []
        self.withheld = self.refusal = None
        self.simulation.reset(seed)
        if self._keeper is not None:
            self._keeper.strategy.begin_episode()

    def step(self, actions: list[bytes]) -> bool:
        """Simulate one frame with all players' actions; return whether the episode ended."""
        has_ended = self.simulation.step(actions)
        if self._keeper is None:
            self._stepped.append(actions)
        return has_ended

    def simulate_again(self, frames: int) -> None:
        """Go back to the state after so many frames, from `reset` on.

        So the first frame is found at which the states of two computers part, also where none can
        be saved.
        """
        stepped = self._stepped[:frames]
        self.reset(self._seed)
        for actions in stepped:
            self.step(actions)

    def output(self) -> bytes:
        """Return what the last step returned, as canonical bytes (see `decode_output`)."""
        return self.simulation.output()

    def decode_output(self, encoded: bytes) -> dict[str, Any]:
        """Decode outputs into rewards, terminations, truncations, infos and observations."""
        return self.simulation.decode_output(encoded)

    def save(self, slot: EnvSnapshot | None = None) -> EnvSnapshot:
        """Save the present frame, reusing the memory of a snapshot that is no longer needed."""
        return self.keeper.save(slot)

    def load(self, snapshot: EnvSnapshot) -> None:
        """Go back to a saved frame, in place. After an error the state is undefined."""
        self.keeper.load(snapshot)

    def hash(self, snapshot: EnvSnapshot) -> bytes:
        """Return the 128-bit hash of a saved state, most significant byte first."""
        return self.keeper.hash(snapshot)

    def live_hash(self) -> bytes:
        """Return the hash of the present state; of an unsaveable one, that of its outputs."""
        if self._keeper is None:
            return hash_bytes(self.output())
        return self._keeper.hash(self._keeper.save())

    def leaves(self, snapshot: EnvSnapshot) -> Leaves:
        """Return path and 64-bit digest of each value of a saved state, in canonical order."""
        return self.keeper.leaves(snapshot)

    def export_state(self, snapshot: EnvSnapshot) -> bytes | None:
        """Return a saved state as bytes: to be taken over if it can be, or else to be looked at.

        `withheld` says why it cannot be taken over. None if it has no bytes at all.
        """
        try:
            return export_state(self.keeper, snapshot)
        except Exception as error:  # also of the environment's own methods
            self.withheld = f"{type(error).__name__}: {error}"
        try:
            return export_to_be_seen(self.keeper, snapshot)
        except Exception:  # the same
            return None

    def import_state(self, encoded: bytes) -> EnvSnapshot | None:
        """Read what `export_state` made elsewhere; None, and `refusal`, if it is no state.

        It trusts nothing: what cannot be taken over exactly is refused.
        """
        try:
            return import_state(self.keeper, encoded)
        except Exception as error:  # also of the environment's own methods
            self.refusal = f"{type(error).__name__}: {error}"
            return None

    def explain(self, error: RollbackError) -> None:
        """Add to an error of the engine why a state could not be given or taken over."""
        reasons = [reason for reason in (self.withheld, self.refusal) if reason is not None]
        if reasons and type(error) in (RollbackError, DivergedError):
            error.args = ("; ".join([str(error), *reasons]),)

    def require_transfer(self) -> None:
        """See that states can be given to other computers, or raise `NotTransferableError`."""
        reason: str | None = "it cannot be saved"
        if self._keeper is not None:
            games: list[EnvGame] = []
            try:
                for _ in range(3):
                    game = EnvGame(
                        self._factory,
                        idle=self._idle,
                        snapshots=self._options,
                        findings=self.findings,
                    )
                    games.append(game)
                reason = try_transfer(games, seed=0)
            finally:
                for game in games:
                    game.close()
        if reason is not None:
            raise NotTransferableError(reason)

    def same(self, a: EnvSnapshot, b: EnvSnapshot) -> bool | None:
        """Tell whether two saved states are exactly equal; None if that cannot be known."""
        return self.keeper.same(a, b)

    def encode_action(self, player: int, action: Any) -> bytes:
        """Turn an action of the player's space into bytes; raises `SpaceError` if it is none."""
        return self.simulation.codec.encode(self._player(player), action)

    def decode_action(self, player: int, encoded: bytes) -> tuple[Any, bool]:
        """Return the action, and whether the bytes were one; if not, it is the idle action."""
        return self.simulation.codec.decode(self._player(player), encoded)

    def idle_action(self, player: int) -> bytes:
        """Return the bytes of the action of a player who does nothing."""
        return self.simulation.codec.idle(self._player(player))

    def observation(self, player: int) -> Any:
        """Return what a player observed last, or None if the agent takes no part any more."""
        return self.simulation.returned[0].get(self.simulation.agents[self._player(player)])

    def _player(self, player: int) -> int:
        require_number("player", player, 0, len(self.simulation.agents) - 1)
        return player

    def render(self) -> Any:
        """Draw the environment as it is now, without changing what is simulated."""
        if self.findings.render_changes is None or self._keeper is None:
            return self.simulation.render()
        before = self._keeper.save()
        try:
            return self.simulation.render()
        finally:
            self._keeper.load(before)

    def close(self) -> None:
        """Close the environment."""
        self.simulation.close()
