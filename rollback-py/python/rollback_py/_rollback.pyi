"""The private half of `rollback_py`: rooms, episodes, snapshots, actions, outputs, recordings."""

# One long file: stubtest compares with the native module only what its own stub declares.

import os
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, final

from typing_extensions import Self, disjoint_base

__all__ = [
    "ActionCodec",
    "DivergedError",
    "DumpFile",
    "EncodingError",
    "Episode",
    "GameError",
    "IncompatibleError",
    "JoinError",
    "OutputCodec",
    "RecordedFrame",
    "RecordedFrames",
    "RecordingError",
    "RecordingFile",
    "RollbackError",
    "Room",
    "Server",
    "Snapshot",
    "SnapshotError",
    "Snapshots",
    "SpaceError",
    "TableWriter",
    "Watching",
    "compare_recordings",
    "decode_value",
    "encode_value",
    "examine",
    "hash_bytes",
    "record_offline",
    "verify_recording",
]

class RollbackError(Exception):
    """Base of every error of rollback_py."""

class SnapshotError(RollbackError):
    """The environment's state cannot be saved or restored."""

class EncodingError(RollbackError):
    """A value has no canonical encoding, or bytes are not one."""

class SpaceError(RollbackError):
    """An action space cannot be sent as bytes, or an action is outside it."""

class RecordingError(RollbackError):
    """A recording cannot be written or read."""

class JoinError(RollbackError):
    """The room cannot be joined or watched, an episode not begun, or the match not gone back to.

    Where nobody may watch, `code` is ``watching_forbidden``. Before an episode it says what is
    wrong with the way to `peer`: ``not_connected``, ``certificate_refused`` (a certificate is not
    that of its description), ``nothing_comes`` from it, ``nothing_arrives`` there, or, if `Health`
    forbids it, ``round_trip`` or ``loss``. Of a match not gone back to it says why:
    ``unknown_token``, ``match_over``, ``nobody_answers``, ``closed``, ``episode_over``,
    ``not_let_in``, ``log`` or ``replaced``. It is None for all else: there is no such server or
    room, or a member did not begin in time.
    """

    code: str | None
    peer: int | None
    """The slot of the member to which the way is bad, or of the first that did not begin."""

class IncompatibleError(RollbackError):
    """The members cannot play together: `peer` differs in `fields`.

    `peer` is None for a computer that came back to others that all play something else.
    """

    peer: int | None
    fields: list[str]

class GameError(RollbackError):
    """The environment failed at `frame`; its own exception is the cause."""

    frame: int

class DivergedError(RollbackError):
    """The simulation of one who watches is in another state than the members' at `frame`."""

    frame: int

def examine(
    link: str,
    *,
    ice_servers: Sequence[tuple[str, str, str]] = ...,
    relay_only: bool = False,
    server_relay: bool = True,
    environment: tuple[str, str, str] | None = None,
) -> dict[str, Any]:
    """Find out in at most 15 s whether one can play over a link, and what is in the way.

    Takes no slot. The answer has `can_play`, `only_local` (no way leads out of this network; one
    can play then only when the server is in it), `verdict`, `text` for people, and `findings`: each
    with `part` (server, way, machine), `name`, `outcome` (good, poor, bad, note) and `text`, and
    for a way that was tried `sent`, `received`, `median_ms` and `slowest_ms`. `environment` is one
    more of them, for the machine: name, outcome (good, bad, note) and text.
    """

@disjoint_base
class Server:
    """A signaling server in a thread of this process; it stops when it is let go."""

    def __new__(
        cls,
        listen: str = "127.0.0.1:8080",
        *,
        rooms: Sequence[tuple[str, int]] = ...,
        players: int = 2,
        begin_with: int | None = None,
        slot_hold_s: int = 600,
        watchers: int = 8,
        unwatched: Sequence[str] = ...,
        relay: bool = True,
        tls: tuple[str | os.PathLike[str], str | os.PathLike[str]] | None = None,
        state_file: str | os.PathLike[str] | None = None,
        ice: Mapping[str, Any] | None = None,
    ) -> Self:
        """Listen on an address; port 0 takes a free one. `rollback_py.Server` says what is what."""

    @property
    def address(self) -> str:
        """Where it listens, as ``host:port``."""

    @property
    def is_running(self) -> bool:
        """Whether it still serves."""

    def stop(self) -> None:
        """Stop it and wait until it has ended."""

@final
class Room:
    """A room that is being joined, and its connections once it is complete."""

    def __new__(
        cls,
        link: str,
        *,
        name: str | None = None,
        token: str | None = None,
        ice_servers: Sequence[tuple[str, str, str]] = ...,
        relay_only: bool = False,
        server_relay: bool = True,
        interrupted_after: float | None = None,
        told_after: float | None = None,
        delay_ms: int = 0,
        jitter_ms: int = 0,
        loss_percent: float = 0.0,
        seed: int = 0,
    ) -> Room:
        """Start joining. An ICE server is URL, user and password, the latter two for TURN.

        `relay_only` keeps this computer's address from the others: only TURN, and the server
        unless `server_relay` is False. `interrupted_after` says after how many seconds of silence a
        connection is left for another way; without it that is 0.8. `told_after` says after how many
        seconds without a way to a member ``peer_reconnecting`` is told; without it that is one.
        """

    def wait(self, seconds: float) -> bool:
        """Wait for the room to be complete; False when the time is over."""

    def progress(self) -> tuple[int, int]:
        """Return how many members there are, and how many make the room complete."""

    @property
    def local(self) -> int:
        """The slot of this member."""

    @property
    def late(self) -> list[int]:
        """The slots of those who may come late, whether they have come by now or not."""

    @property
    def members(self) -> list[str]:
        """The names of all members, in the order of their slots; of who comes late, perhaps not."""

    @property
    def session(self) -> int:
        """The number of the match."""

    @property
    def seed(self) -> int:
        """The seed that all members share."""

    @property
    def token(self) -> str:
        """The secret with which a new process takes this member's slot."""

    @property
    def life(self) -> int:
        """Which life of its slot this process lives; 0 for one that came neither late nor back."""

    def way(self, slot: int) -> dict[str, Any] | None:
        """Return what is known of the way to another member; None while an episode is played."""

    def inquire(self, seconds: float, patience: float) -> tuple[int, int, bool, list[int]] | None:
        """Ask the others for so long which episode they are in.

        Return its number, how many were completed before it, whether it has begun, and the slots of
        those who come late and had not come then; None if that is not known yet. Raise `JoinError`
        when it will not be, or after `patience` seconds.
        """

    def close(self, *, leave: bool = True) -> None:
        """Close all connections and leave the room, or keep the slot for a new process."""

@final
class Episode:
    """An episode that is played. One of a room runs at a time."""

    def __new__(
        cls,
        room: Room,
        game: Any,
        *,
        episode: int,
        hosts: Sequence[int],
        config: dict[str, Any],
        must_match: Sequence[tuple[str, str]],
        may_differ: Sequence[tuple[str, str]],
        recording: str | os.PathLike[str] | None = None,
        completed_episodes: int = 0,
        rejoins: bool = False,
        on_output: Callable[[int], object] | None = None,
        predictor: str = "repeat",
        run_ahead: int = 0,
        told_after: float | None = None,
        health: tuple[float, float, float, bool] | None = None,
    ) -> Episode:
        """Start an episode for an `EnvGame` that was just reset with the seed of `seed_of`.

        `on_output` is told the frame of each output that is asked for, also of those that are
        simulated again. `predictor` is "repeat", "idle" or "learned". `health` is the longest
        round trip in seconds, the most losses in per cent, the patience in seconds, and whether not
        to begin otherwise. `told_after` says after how many seconds without a
        word of a member ``interrupted`` is told; without it that is half of one. One that `rejoins`
        comes back into an episode that the others play already.
        """

    @staticmethod
    def seed_of(room: Room, episode: int, hosts: Sequence[int]) -> int:
        """Return the seed of an episode of the room's match."""

    @property
    def seed(self) -> int:
        """The seed that the environment was reset with."""

    @property
    def local_players(self) -> list[int]:
        """The players that this computer hosts."""

    @property
    def end(self) -> dict[str, Any] | None:
        """How the episode ended: frame, cause, by and is_agreed; None while it is played."""

    @property
    def recorded_end(self) -> int:
        """The first frame that is not recorded for certain."""

    def wants_input(self, player: int) -> bool:
        """Return whether an input given now would be used."""

    def set_input(self, player: int, action: bytes, flags: int) -> int | None:
        """Give the input of a local player; return the frame it is for, or None if unused."""

    def advance(self) -> tuple[str, int, int, list[int]]:
        """Step a frame, or some of those that were recorded while this computer was away.

        Return what happened (stepped, held, catching_up, ended, or what is waited for), the frame,
        how far it rolled back, and the peers that are waited for.
        """

    @property
    def absent(self) -> list[int]:
        """The slots at which nobody sat any more in the last recorded frame."""

    @property
    def late(self) -> list[int]:
        """The slots of those who come late and had not come by the last recorded frame."""

    def wait(self, seconds: float) -> bool:
        """Wait until the next frame is due, at most so long; True when it is."""

    def set_start_timeout(self, seconds: float) -> None:
        """Change how long the others may take to begin, from the first call of `advance`.

        After that `advance` raises `JoinError`.
        """

    def linger(self) -> bool:
        """Tell the others of the end, once; True when nobody needs this computer any more."""

    def set_actor(self, player: int, is_policy: bool) -> None:
        """Have a local player be driven by a policy from its next input on, or by a person."""

    def resync(self) -> bool:
        """Say, in a dispute, that all are to take over the majority's state and play on."""

    def end_disputed(self) -> bool:
        """End, in a dispute, the episode for all."""

    def take_desync_dump(self) -> bytes | None:
        """Return this computer's side of the desync that was told last, once."""

    def kick(self, slot: int) -> None:
        """Send another computer away."""

    @property
    def by_policy(self) -> list[bool]:
        """Whether a policy drives each player, as its host last said."""

    @property
    def input_delays(self) -> list[int]:
        """The input delay of each player in frames, as its host last said."""

    @property
    def recommended_input_delay(self) -> int | None:
        """The delay with which nine in ten of this computer's inputs would have come in time."""

    def set_input_delay(self, player: int, frames: int) -> None:
        """Change the input delay of a local player."""

    def set_automatic_input_delay(self, limits: tuple[int, int] | None) -> None:
        """Have the local delays follow how late inputs come, within limits."""

    def propose_input_delay(self, frames: int) -> bool:
        """Propose one input delay for all players of all computers."""

    def pause(self) -> bool:
        """Pause the episode for all."""

    def resume(self) -> bool:
        """End this computer's own pause."""

    @property
    def paused_by(self) -> list[int]:
        """The slots of the computers whose pauses are in force."""

    def propose_end(self, code: int) -> bool:
        """Propose that the episode ends for all, with a number for the reason."""

    def leave(self) -> int:
        """Leave in order; return the frame from which others fill idle in."""

    def poll_event(self) -> dict[str, Any] | None:
        """Return the next thing that happened, with its name under ``event``."""

    def poll_experienced(self) -> dict[str, Any] | None:
        """Return the next recorded frame that was first simulated from a wrong guess.

        Its number, the actions that it was simulated from, and the players of whom they were
        guesses.
        """

    def counters(self) -> dict[str, Any]:
        """Return what was counted so far."""

    def peer(self, slot: int) -> dict[str, Any] | None:
        """Return what was counted between this computer and another."""

    def release(self) -> None:
        """Give the connections back to the room."""

@final
class Watching:
    """A match that is watched, one episode after the other."""

    def __new__(
        cls,
        link: str,
        *,
        ice_servers: Sequence[tuple[str, str, str]] = ...,
        relay_only: bool = False,
        server_relay: bool = True,
        delay_ms: int = 0,
        jitter_ms: int = 0,
        loss_percent: float = 0.0,
        seed: int = 0,
        timeout_s: float = 60.0,
    ) -> Watching:
        """Start going to a room. Where nobody plays, it is tried again for `timeout_s`."""

    def wait(self, seconds: float) -> bool:
        """Wait until the room can be watched; False when the time is over."""

    @property
    def members(self) -> list[str]:
        """The names of all members, in the order of their slots."""

    @property
    def hosts(self) -> int:
        """To how many members there is a connection."""

    def begin(self, seconds: float) -> dict[str, Any] | None:
        """Go to the episode that is played, or to the next one.

        Return what its members agreed on before the first frame: session, episode, seed, fps,
        input_width, hosts, participants and must_match. None if that has not come in time.
        """

    def start(
        self,
        game: Any,
        *,
        recording: str | os.PathLike[str] | None = None,
        completed_episodes: int = 0,
    ) -> None:
        """Show the episode to an `EnvGame` that was just reset with its seed, and record it."""

    def advance(self) -> tuple[str, int]:
        """Step what is to be shown next.

        Return what happened (stepped, waiting, left_behind or ended), and the frame that is next.
        """

    def wait_for_frame(self) -> None:
        """Wait until the next frame is to be shown."""

    @property
    def frames(self) -> int:
        """How many frames have come."""

    @property
    def contradictions(self) -> list[tuple[int, int | None]]:
        """The slots of members that said otherwise than another, and from which frame on."""

    @property
    def end(self) -> dict[str, Any] | None:
        """How the episode ended: frame, cause, by and is_agreed; None while it is watched."""

    def stop_recording(self) -> None:
        """Write what was recorded of an episode that is not watched to its end."""

    def close(self) -> None:
        """Go away."""

@final
class Snapshot:
    """One saved state. It can be saved into again, which reuses its memory."""

@final
class Snapshots:
    """Makes, restores, hashes and compares snapshots of everything that named objects lead to.

    `roots` gives each object the name with which the paths of its values begin. Objects of
    `boundary` are not looked into, instances of `shared` classes neither saved nor hashed, fields
    of `unhashed`, each as ``Class.field``, saved and not hashed.
    """

    def __new__(
        cls,
        roots: Sequence[tuple[str, Any]],
        *,
        boundary: Sequence[Any] = ...,
        shared: Sequence[type] = ...,
        unhashed: Sequence[str] = ...,
    ) -> Snapshots: ...
    def save(self) -> Snapshot:
        """Save the state as it is now. Raises `SnapshotError` naming what cannot be saved."""

    def save_into(self, snapshot: Snapshot) -> None:
        """Save into a snapshot that is no longer needed."""

    def load(self, snapshot: Snapshot) -> None:
        """Restore a state in place. After an error the state is undefined."""

    def hash(self, snapshot: Snapshot) -> bytes:
        """Return the hash of the canonical encoding: 16 bytes, most significant first."""

    def encode(self, snapshot: Snapshot) -> bytes:
        """Return the canonical encoding. Raises `EncodingError` naming what has none."""

    def describe(self, snapshot: Snapshot) -> list[Any]:
        """Return the state as a plain value that another process can take over.

        Raises `SnapshotError` naming what cannot travel.
        """

    def receive(self, described: Any, constants: set[int] | None = None) -> None:
        """Write a described state over the live one, but not into objects at `constants`.

        After an error the live state is undefined.
        """

    def leaves(self, snapshot: Snapshot) -> list[tuple[str, int]]:
        """Return each value's path and 64-bit digest, in canonical order."""

    def same(self, a: Snapshot, b: Snapshot) -> bool | None:
        """Tell whether two snapshots hold exactly the same state; None if that cannot be known."""

    def report(self, snapshot: Snapshot) -> dict[str, Any]:
        """Count objects, references and bytes, and the classes that are copied or skipped."""

@final
class ActionCodec:
    """The action spaces of an environment's agents, in player order."""

    def __new__(
        cls, agents: Sequence[Any], spaces: Sequence[Any], *, idle: dict[Any, Any] | None = None
    ) -> ActionCodec: ...
    @property
    def width(self) -> int:
        """Bytes of one action: the widest of the players' actions, the same for all."""

    @property
    def invalid_actions(self) -> int:
        """How many times bytes were read that are no action."""

    @property
    def agents(self) -> list[Any]:
        """The agents, in player order."""

    def encode(self, player: int, action: Any) -> bytes:
        """Turn an action into bytes. Raises `SpaceError` if it is not in the player's space."""

    def decode(self, player: int, encoded: bytes) -> tuple[Any, bool]:
        """Return the action, and whether the bytes were one; if not, it is the idle action."""

    def decode_joint(self, encoded: Sequence[bytes], active: list[Any]) -> dict[Any, Any]:
        """Return the actions of the active agents from the bytes of all players."""

    def idle(self, player: int) -> bytes:
        """Return the bytes of a player's idle action."""

@final
class OutputCodec:
    """Encodes what an environment with these agents returns for a frame."""

    def __new__(
        cls,
        agents: Sequence[Any],
        *,
        excluded_info_keys: Container[Any],
        with_observations: bool = False,
    ) -> OutputCodec: ...
    @property
    def dropped(self) -> list[str]:
        """The paths of values that were left out because they are not plain."""

    def encode(
        self,
        observations: Any,
        rewards: dict[Any, Any],
        terminations: dict[Any, Any],
        truncations: dict[Any, Any],
        infos: dict[Any, Any],
    ) -> bytes:
        """Encode what `step` returned, in its order."""

    def decode(self, encoded: bytes) -> dict[str, Any]:
        """Return a dict of dicts keyed by agent. Raises `EncodingError` for hostile bytes."""

def encode_value(value: Any) -> bytes:
    """Encode None, bool, int, float, str, bytes, list, tuple, dict, numpy numbers and arrays."""

def decode_value(encoded: bytes) -> Any:
    """Decode what `encode_value` made. Hostile bytes are an `EncodingError`."""

def hash_bytes(encoded: bytes) -> bytes:
    """Return the 128-bit xxh3 hash, most significant byte first."""

@final
class RecordingFile:
    """A recording of which every byte was checked."""

    def __new__(cls, path: str | os.PathLike[str]) -> RecordingFile:
        """Read and check a file. Raises `RecordingError` with the place of a damage."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def format_version(self) -> int:
        """The version of the recording's format."""

    @property
    def session(self) -> int:
        """The room's number for the match."""

    @property
    def episode(self) -> int:
        """Which episode of the match, from 0."""

    @property
    def seed(self) -> int:
        """The seed that the environment was reset with."""

    @property
    def hosts(self) -> list[int]:
        """The slot of the peer that hosted each player."""

    @property
    def participants(self) -> list[str]:
        """The pseudonym of who sat at each peer."""

    @property
    def config(self) -> dict[str, Any]:
        """The configuration of the match."""

    @property
    def must_match(self) -> list[tuple[str, str]]:
        """Facts that were equal on all peers."""

    @property
    def may_differ(self) -> list[list[tuple[str, str]]]:
        """Facts about each peer's numbers and processor."""

    @property
    def start_hash(self) -> str:
        """The hash of the state after `reset`."""

    @property
    def frame_count(self) -> int:
        """How many frames are recorded."""

    @property
    def end(self) -> dict[str, Any] | None:
        """How the episode ended: frame, cause, by, is_agreed, completed_episodes."""

    @property
    def dropped_bytes(self) -> int:
        """How many bytes at the end belong to a block that is not whole, and are not read."""

    @property
    def digest(self) -> str:
        """A digest of all that was read."""

    def frames(self) -> RecordedFrames:
        """Go through the frames."""

@final
class DumpFile:
    """One side of a desync."""

    def __new__(cls, bytes: bytes) -> DumpFile:  # noqa: A002
        """Read the bytes of a file. Raises `RecordingError` when they are no dump."""

    @property
    def session(self) -> int:
        """The room's number for the match."""

    @property
    def episode(self) -> int:
        """Which episode of the match, from 0."""

    @property
    def peer(self) -> int:
        """The slot of the computer whose side it is."""

    @property
    def agreed(self) -> int:
        """All agree on the states up to this frame."""

    @property
    def states(self) -> list[tuple[int, bool, bytes]]:
        """Each state: its frame, whether it was stepped to again, and its bytes."""

    @property
    def rows(self) -> list[tuple[int, list[bytes], list[int]]]:
        """The last frames: the frame, each player's bytes, and each player's flags."""

    def compare(
        self, other: DumpFile
    ) -> tuple[int | None, list[tuple[int, bool, tuple[int, int] | None]]]:
        """Return the first frame with other inputs, and how each state differs that both hold.

        That is its frame, whether it was stepped to again, and from the first byte that differs to
        behind the last one.
        """

@final
class RecordedFrames:
    """An iterator over the frames of a recording."""

    def __iter__(self) -> RecordedFrames: ...
    def __next__(self) -> RecordedFrame: ...

@final
class RecordedFrame:
    """One frame of a recording."""

    @property
    def frame(self) -> int:
        """The frame, from 0."""

    @property
    def actions(self) -> list[bytes]:
        """The bytes of each player's action."""

    @property
    def flags(self) -> list[int]:
        """The flags of each player's action: 1 focused, 2 idle filled in, 4 by a policy."""

    @property
    def items(self) -> list[tuple[int, str, int]]:
        """The proposer's slot, the name and the argument of each agreed change."""

    @property
    def output(self) -> bytes:
        """What `step` returned, as canonical bytes (see `EnvGame.decode_output`)."""

    @property
    def state_hash(self) -> str | None:
        """The hash of the state before the frame, where it was reported."""

@final
class TableWriter:
    """A Parquet file that is written row group by row group and takes its name at the end.

    A column is a name, a kind (bool, int64, double, text, bytes, doubles, int64s) and whether a
    row may have no value. A list of doubles is given as a numpy array.
    """

    def __new__(
        cls, path: str | os.PathLike[str], columns: Sequence[tuple[str, str, bool]]
    ) -> TableWriter: ...
    @property
    def rows(self) -> int:
        """How many rows were written."""

    @property
    def digest(self) -> str:
        """The 128-bit XXH3 of all rows so far."""

    def write(self, columns: Sequence[Sequence[Any]]) -> None:
        """Write a row group: for each column, a value of each row."""

    def finish(self, metadata: Sequence[tuple[str, str]]) -> None:
        """Close the file with these texts beside the rows, and give it its name."""

def compare_recordings(
    one: RecordingFile, other: RecordingFile
) -> tuple[Literal["EQUAL", "PREFIX", "DIFFERENT"], int, str | None]:
    """Return the verdict, the frame it speaks of, and what differs there."""

def verify_recording(
    file: RecordingFile, game: Any
) -> (
    tuple[int, int, int, list[tuple[int, int | None, tuple[int, str, str] | None]]]
    | tuple[int, str, str]
):
    """Step a recording again with an `EnvGame` that was just reset with its seed.

    Return how many frames, state hashes and outputs are equal, and the segments; or the first frame
    that is wrong, the kind (start, state, output, end, width, failure) and the text of the
    mismatch. A segment is its first frame, whose state it begins with, and such a mismatch in the
    disputed frames before it, or None.
    """

def record_offline(
    game: Any,
    act: Callable[[], Sequence[tuple[bytes, int]]],
    *,
    path: str | os.PathLike[str],
    seed: int,
    frames: int,
    config: dict[str, Any],
    participant: str,
    must_match: Sequence[tuple[str, str]],
    may_differ: Sequence[tuple[str, str]],
) -> int:
    """Play an `EnvGame` that was just reset with `seed`, and record it; return the frames played.

    `act` returns the action and the flags of each player for the next frame.
    """
