"""The private half of `rollback_py`: snapshots, canonical bytes and hashes, actions, outputs."""

from collections.abc import Container, Sequence
from typing import Any, final

__all__ = [
    "ActionCodec",
    "EncodingError",
    "OutputCodec",
    "RollbackError",
    "Snapshot",
    "SnapshotError",
    "Snapshots",
    "SpaceError",
    "decode_value",
    "encode_value",
    "hash_bytes",
]

class RollbackError(Exception):
    """Base of every error of rollback_py."""

class SnapshotError(RollbackError):
    """The environment's state cannot be saved or restored."""

class EncodingError(RollbackError):
    """A value has no canonical encoding, or bytes are not one."""

class SpaceError(RollbackError):
    """An action space cannot be sent as bytes, or an action is outside it."""

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

    def leaves(self, snapshot: Snapshot) -> list[tuple[str, int]]:
        """Return each value's path and 64-bit digest, in canonical order."""

    def same(self, a: Snapshot, b: Snapshot) -> bool:
        """Tell whether two snapshots hold exactly the same state."""

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
