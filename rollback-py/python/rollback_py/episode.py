"""One episode of a match: played to its agreed end, and noted as this computer saw it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from datetime import datetime, timezone
from math import inf
from typing import TYPE_CHECKING, Any

from rollback_py._rollback import JoinError, RollbackError
from rollback_py.desync_dump import keep_dump
from rollback_py.endings import DesyncError, End, reason_of, told_of
from rollback_py.excluded_infos import ExcludedInfos
from rollback_py.plain_json import described
from rollback_py.policies import BY_POLICY, FOCUSED, Person, Policy, require_player
from rollback_py.recordings import Recording
from rollback_py.settings import END_CODE_MAX, INPUT_DELAY_MAX, require_number
from rollback_py.side_file import FORMAT, SideFileWriter
from rollback_py.state_transfer import NotTransferableError
from rollback_py.summary import PeerSummary, Summary

if TYPE_CHECKING:
    from pathlib import Path

    import pandas
    import polars

    from rollback_py.match import Match

# How long a wait may take before Python looks at its signals, so that Ctrl-C works at once.
WAIT_S = 0.05

# How often counters and round trips are noted, and the side file is handed to the system.
_SAMPLE_S = 1.0

# How often a picture is drawn of what happened while this computer was away.
_CATCH_UP_PICTURE_S = 0.1

# The newest events that are held in memory; all of them are in the side file.
_EVENTS_MAX = 10_000


class Episode:
    """One episode, from its reset to its agreed end."""

    def __init__(self, match: Match, number: int, *, rejoins: bool = False) -> None:
        self._match = match
        self.number = number
        """Which episode of the match, from 0."""
        self.recording = match.recording_path(number)
        """The file of the stable frames, the same bytes on every computer."""
        self.events: list[dict[str, Any]] = []
        """What happened, each with its time in seconds since the episode began."""
        self.end: End | None = None
        """How it ended, once this computer is done with it."""
        self._began = time.monotonic()
        self._next_sample = 0.0
        self._paths: dict[int, str] = {}
        self._recorded_end = 0
        self._failure: BaseException | None = None
        self._is_finished = False
        self._summary: Summary | None = None
        self._shown_at = 0.0
        self._absent: list[int] = []
        self._late = match.late
        self._awaited = set(match.late)
        self._silent_since: dict[int, float] = {}
        self._given_up: int | None = None
        self._status = ""
        self.waits_for: list[int] = []
        """The slots of the members without whom it does not go on just now."""
        self.dumps: list[Path] = []
        """This computer's side of each desync: files for `DesyncDump.open`."""
        self._excluded = ExcludedInfos(match.game)
        on_output = self._excluded.note if self._excluded.keys else None
        self._native = match.start(number, self.recording, on_output, rejoins=rejoins)
        self._seats: dict[int, Policy | Person] = {}
        self._side = SideFileWriter(self.recording)
        self._side.write("head", self._head())

    @property
    def frame(self) -> int:
        """The frame that is simulated next."""
        return int(self._native.counters()["predicted"])

    @property
    def counters(self) -> dict[str, Any]:
        """What was counted so far: frames, rollbacks, stalls, and the ladder of finality."""
        return self._native.counters()

    @property
    def absent(self) -> list[int]:
        """The slots at which nobody sat any more in the last recorded frame.

        After the end all computers that were present know the same.
        """
        return self._absent if self._summary is not None else self._native.absent

    @property
    def late(self) -> list[int]:
        """The slots of those who come late and had not come by the last recorded frame.

        All computers that were present know the same after the end.
        """
        return self._late if self._summary is not None else self._native.late

    @property
    def is_cut_off(self) -> bool:
        """Whether the others may go on without this computer, which may come back to them."""
        if isinstance(self._failure, JoinError):
            return self._failure.code in ("nobody_answers", "episode_over", "not_let_in")
        is_alone = self.end is not None and self.end.cause == "partitioned"
        return is_alone and self._given_up is None

    def run(
        self,
        players: Mapping[Any, Policy | Person],
        *,
        start_timeout_s: float = 60.0,
        on_frame: Callable[[Episode], None] | None = None,
    ) -> End:
        """Play to the end: `players` gives who plays each of `my_agents`.

        Raises `GameError` when the environment fails, `DesyncError` when the episode ends because
        the members' states differ, `IncompatibleError` when they cannot play together, and
        `JoinError` when not all members have begun within `start_timeout_s`, or do not let this
        computer back in. The recording is complete up to the last stable frame in each of these
        cases.
        """
        require_number("start_timeout_s", start_timeout_s, 0.0, inf)
        self._seats = self._seats_of(players)
        for player, who in self._seats.items():
            self._native.set_actor(player, not isinstance(who, Person))
        try:
            self._play(start_timeout_s, on_frame)
        except BaseException as error:
            self._failure = error
            raise
        finally:
            with ExitStack() as leaving:
                for person in self._people().values():
                    leaving.callback(person.close)
                self._finish()
        if self.end is None:
            raise RollbackError("the episode was left before its end was known")
        if self.end.cause == "desync" and (desync := self._last_desync()) is not None:
            raise desync
        return self.end

    def leave(self) -> None:
        """Leave in order; with ``on_departure="continue"`` the others play on."""
        self._native.leave()

    def propose_end(self, code: int = 0) -> bool:
        """End the episode for all, with a number for the reason."""
        require_number("code", code, 0, END_CODE_MAX)
        return self._native.propose_end(code)

    @property
    def players(self) -> dict[Any, str]:
        """Who drives each agent, ``person`` or ``policy``, as its computer last said."""
        names = ["policy" if by_policy else "person" for by_policy in self._native.by_policy]
        return dict(zip(self._match.agents, names, strict=True))

    def hand_over(self, agent: Any, player: Policy | Person) -> None:
        """Have another play one of `my_agents` from its next action on, as `run` takes them.

        Call it from `on_frame`. It is in the recording that a policy took over from a person, or a
        person from a policy.
        """
        if agent not in self._match.my_agents:
            raise ValueError(f"expected one of {self._match.my_agents}, got {agent!r}")
        index = self._match.agents.index(agent)
        if index not in self._seats:
            raise ValueError("nobody plays yet: call it from on_frame")
        require_player(agent, player)
        before, self._seats[index] = self._seats[index], player
        self._native.set_actor(index, not isinstance(player, Person))
        if isinstance(before, Person) and id(before) not in self._people():
            before.close()

    @property
    def input_delays(self) -> dict[Any, int]:
        """After how many frames each agent's input takes effect, as its computer last said."""
        return dict(zip(self._match.agents, self._native.input_delays, strict=True))

    @property
    def recommended_input_delay(self) -> int | None:
        """The delay with which nine in ten of this computer's inputs would have come in time.

        None until enough have come.
        """
        return self._native.recommended_input_delay

    def set_input_delay(self, agent: Any, frames: int) -> None:
        """Have the inputs of one of `my_agents` take effect so many frames later, 0 to 30.

        Nothing is lost: a longer delay repeats the last input in the gap, a shorter one takes none
        for as many frames. The change is in the recording.
        """
        if agent not in self._match.agents:
            raise ValueError(f"expected one of {self._match.my_agents}, got {agent!r}")
        require_number("frames", frames, 0, INPUT_DELAY_MAX)
        self._native.set_input_delay(self._match.agents.index(agent), frames)

    def follow_lateness(self, shortest: int = 0, longest: int = 8) -> None:
        """Have the delay of `my_agents` follow how late inputs come, within these limits."""
        require_number("longest", longest, 0, INPUT_DELAY_MAX)
        require_number("shortest", shortest, 0, longest)
        self._native.set_automatic_input_delay((shortest, longest))

    def propose_input_delay(self, frames: int) -> bool:
        """Have all agents of all computers play with one delay, as fair experiments need."""
        require_number("frames", frames, 0, INPUT_DELAY_MAX)
        return self._native.propose_input_delay(frames)

    def pause(self) -> bool:
        """Have all computers stand still at one frame, until this one resumes or is gone.

        False if this computer's pause is in force already.
        """
        return self._native.pause()

    def resume(self) -> bool:
        """End this computer's pause; False if there was none."""
        return self._native.resume()

    def kick(self, slot: int) -> None:
        """Send another computer away: the others go on without it, as if it had been lost.

        Any member may. It does not come back into this episode, whose end is ``kicked`` for it.
        Raises `ValueError` when it is not there, or when too few would be left.
        """
        require_number("slot", slot, 0, len(self._match.members) - 1)
        self._native.kick(slot)

    @property
    def dispute(self) -> DesyncError | None:
        """How the states differ, while all stand still until it is said what follows; or None.

        With ``on_desync="pause"`` it is for you to say: call `resync` or `end_disputed` from
        `on_frame`.
        """
        return self._last_desync() if self._status == "disputed" else None

    def resync(self) -> bool:
        """Say, in a dispute, that all are to take over the majority's state and play on.

        It is done when every member has said so. Of equally large groups it is the one with slot 0.
        False if there is nothing to be said, or this computer has said something. Raises
        `NotTransferableError` where the environment's state cannot be given to another computer.
        """
        if self._match.untransferable is not None:
            raise NotTransferableError(self._match.untransferable.reason)
        return self._native.resync()

    def end_disputed(self) -> bool:
        """End the episode for all, in a dispute, where they last agreed.

        False if there is nothing to be said, or this computer has said something.
        """
        return self._native.end_disputed()

    @property
    def paused_by(self) -> list[int]:
        """The slots of the computers whose pauses are in force."""
        return self._native.paused_by

    def summary(self) -> Summary:
        """Say how it went on this computer."""
        return self._summary or self._make_summary()

    def open(self) -> Recording:
        """Open the recording."""
        return Recording.open(self.recording)

    def to_pandas(self) -> pandas.DataFrame:
        """Return the stable frames as a table, a row for each frame and agent."""
        return self.open().to_pandas(env=self._match.factory)

    def to_polars(self) -> polars.DataFrame:
        """Return the stable frames as a table, a row for each frame and agent."""
        return self.open().to_polars(env=self._match.factory)

    def close(self) -> None:
        """Give the connections back; leaves first if the episode is not over."""
        self._finish()

    def _seats_of(self, players: Mapping[Any, Policy | Person]) -> dict[int, Policy | Person]:
        mine = self._match.my_agents
        if not isinstance(players, Mapping) or set(players) != set(mine):
            got = list(players) if isinstance(players, Mapping) else players
            raise ValueError(f"expected a dict with a player for each of {mine}, got {got!r}")
        for agent, player in players.items():
            require_player(agent, player)
        agents = self._match.agents
        return {agents.index(agent): player for agent, player in players.items()}

    def _people(self) -> dict[int, Person]:
        """Return the people who play here, each once however many agents they play."""
        return {id(who): who for who in self._seats.values() if isinstance(who, Person)}

    def _play(self, start_timeout_s: float, on_frame: Callable[[Episode], None] | None) -> None:
        self._native.set_start_timeout(start_timeout_s)
        while True:
            for player, who in self._seats.items():
                if self._native.wants_input(player):
                    self._give_input(player, who)
            status, frame, frames_back, self.waits_for = self._advance()
            self._status = status
            if frames_back:
                self._note_rollback(frame, frames_back)
            self._note_recorded()
            self._note_events()
            if status == "ended":
                return
            self._give_up_late()
            self._show(status)
            if on_frame is not None:
                on_frame(self)
            while not self._native.wait(WAIT_S):
                pass

    def _advance(self) -> tuple[str, int, int, list[int]]:
        try:
            return self._native.advance()
        except RollbackError as error:
            self._match.game.explain(error)
            raise

    def _last_desync(self) -> DesyncError | None:
        desyncs = [event for event in self.events if event["event"] == "desync"]
        return DesyncError(desyncs[-1]) if desyncs else None

    def _give_input(self, player: int, who: Policy | Person) -> None:
        game = self._match.game
        if isinstance(who, Person):
            action, flags = who.action(), FOCUSED if who.is_focused() else 0
        else:
            action, flags = who(game.observation(player)), BY_POLICY
        encoded = game.idle_action(player) if action is None else game.encode_action(player, action)
        self._native.set_input(player, encoded, flags)

    def _show(self, status: str) -> None:
        people = self._people()
        now = time.monotonic()
        # Drawing every frame of what happened meanwhile would hold up coming back.
        is_due = status != "catching_up" or now >= self._shown_at + _CATCH_UP_PICTURE_S
        if not people or not is_due:
            return
        self._shown_at = now
        try:
            picture = self._match.game.render()
        except NotImplementedError:  # as PettingZoo's own base class says that it draws nothing
            picture = None
        for person in people.values():
            person.show(picture, status)

    def _head(self) -> dict[str, Any]:
        match = self._match
        return {
            "format": FORMAT,
            "recording": self.recording.name,
            "peer": match.slot,
            "began": datetime.now(timezone.utc).isoformat(),
            "agents": match.game.players,
            "excluded_info_keys": self._excluded.keys,
        }

    def _seconds(self) -> float:
        return round(time.monotonic() - self._began, 4)

    def _note_rollback(self, frame: int, frames_back: int) -> None:
        line = {"t": self._seconds(), "frame": frame, "frames_back": frames_back}
        self._side.write("rollback", line)

    def _note_recorded(self) -> None:
        """Note what only this computer knows of frames that have been recorded by now."""
        end = self._native.recorded_end
        if end == self._recorded_end:
            return
        self._recorded_end = end
        for frame, infos in self._excluded.take(end):
            self._side.write("info", {"frame": frame, "infos": infos})
        game = self._match.game
        agents = game.players
        while (shown := self._native.poll_experienced()) is not None:
            actions = {
                agent: described(game.decode_action(player, shown["actions"][player])[0])
                for player, agent in enumerate(agents)
            }
            guessed = [agents[player] for player in shown["guessed"]]
            line = {"frame": shown["frame"], "actions": actions, "guessed": guessed}
            self._side.write("experienced", line)

    def _note_events(self) -> None:
        seconds = self._seconds()
        while (event := self._native.poll_event()) is not None:
            event = {"t": seconds, **event}
            if event["event"] == "desync":
                dump = self._native.take_desync_dump()
                event.update({} if dump is None else keep_dump(dump, self.recording, self.dumps))
            elif event["event"] == "joined":
                event["is_late"] = event["peer"] in self._awaited
                self._awaited.discard(event["peer"])
            if len(self.events) == _EVENTS_MAX:
                del self.events[0]
            self.events.append(event)
            self._side.write(event["event"], event)
            if event["event"] == "interrupted":
                silent_s = event["silent_ms"] / 1000
                self._silent_since.setdefault(event["peer"], seconds - silent_s)
            elif event["event"] in ("resumed", "view_changed", "left"):
                self._silent_since.pop(event["peer"], None)
        if seconds >= self._next_sample:
            self._next_sample = seconds + _SAMPLE_S
            sample = {"t": seconds, **self._native.counters(), "peers": self._peers()}
            self._side.write("sample", sample)
            self._side.flush()

    def _peers(self) -> list[dict[str, Any]]:
        """Say what is known of each peer; of one that has left, the path is the last there was."""
        peers = []
        for slot in range(len(self._match.members)):
            peer = self._native.peer(slot)
            if peer is None:
                continue
            if peer["path"] is not None:
                self._paths[slot] = peer["path"]
            peers.append({**peer, "peer": slot, "path": self._paths.get(slot)})
        return peers

    def _finish(self) -> None:
        if self._is_finished:
            return
        self._is_finished = True
        with ExitStack() as leaving:
            leaving.callback(self._native.release)
            leaving.callback(self._conclude)
            if self._native.end is None:
                self._native.leave()
            while not self._native.linger():
                self._note_recorded()
                self._note_events()
                while not self._native.wait(WAIT_S):
                    pass
            self._note_recorded()
            self._note_events()

    def _conclude(self) -> None:
        end = self._native.end
        self.end = None if end is None else End(**end, reason=self._reason())
        with closing(self._side):
            self._side.write("summary", {"t": self._seconds(), **self._make_summary().to_json()})
        # Whether all of the side file is on the disk is known only now.
        self._summary = self._make_summary()
        self._absent, self._late = self._native.absent, self._native.late

    def _give_up_late(self) -> None:
        """End here when a member that is waited for has not come back in time."""
        settings = self._match.settings
        if settings.on_departure != "wait" or self._given_up is not None:
            return
        since = self._seconds() - settings.departure_timeout_s
        late = [peer for peer, silent in self._silent_since.items() if silent <= since]
        if late:
            self._given_up = late[0]
            self._native.leave()

    def _reason(self) -> str:
        if self._given_up is not None and self._failure is None:
            waited = self._match.settings.departure_timeout_s
            return f"peer {self._given_up} was lost and did not come back within {waited:g} s"
        return reason_of(self._native.end, self.events, self._failure, self._match.slot)

    def _make_summary(self) -> Summary:
        counters, end = self._native.counters(), self._native.end
        return Summary(
            episode=self.number,
            frames=counters["stable"] if end is None else end["frame"],
            cause="playing" if end is None else end["cause"],
            by=None if end is None else end["by"],
            reason=self._reason(),
            **told_of(self.events),
            rollbacks=counters["rollbacks"],
            rollback_depths=counters["rollback_depths"],
            resimulated_frames=counters["resimulated_frames"],
            early_stops=counters["early_stops"],
            stalls=counters["stalls"],
            predicted_frames=counters["predicted_frames"],
            mispredicted_frames=counters["mispredicted_frames"],
            left_out=[*self._excluded.keys, *self._match.game.simulation.dropped_outputs],
            side_file_error=self._side.failure,
            recording=str(self.recording),
            peers=[PeerSummary.of(peer) for peer in self._peers()],
        )
