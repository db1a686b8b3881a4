"""How an episode went on this computer, for people."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self


@dataclass(frozen=True)
class PeerSummary:
    """The way to one other computer."""

    peer: int
    """Its slot."""
    path: str | None
    """The way of the datagrams, such as ``direct host/srflx udp, private/public IPv4``."""
    rtt_ms: float | None
    """The least round trip of late, on the way that datagrams take."""
    jitter_ms: float | None
    """How much the way varies (RFC 3550)."""
    datagrams_sent: int
    datagrams_received: int
    bytes_sent: int
    bytes_received: int
    frames_direct: int
    """Frames of inputs that came from it itself and were new."""
    frames_relayed: int
    """Frames of others' inputs that came through it and were new."""
    datagrams_dropped: int
    """Datagrams that were damaged or broke the protocol."""

    @classmethod
    def of(cls, peer: Mapping[str, Any]) -> Self:
        """Take what is told of what was counted."""
        return cls(
            peer=peer["peer"],
            path=peer["path"],
            rtt_ms=peer["rtt_ms"],
            jitter_ms=peer["jitter_ms"],
            datagrams_sent=peer["datagrams_sent"],
            datagrams_received=peer["datagrams_received"],
            bytes_sent=peer["bytes_sent"],
            bytes_received=peer["bytes_received"],
            frames_direct=peer["frames_direct"],
            frames_relayed=peer["frames_relayed"],
            datagrams_dropped=peer["tags_wrong"] + peer["malformed"],
        )


@dataclass(frozen=True)
class Summary:
    """How an episode went on this computer."""

    episode: int
    frames: int
    """How many frames the episode has."""
    cause: str
    """Why it ended."""
    by: int | None
    """Whose doing that was, where it was someone's."""
    reason: str
    """Why, in a sentence, as far as this computer knows."""
    losses: list[str]
    """Why each member was gone that the others went on without."""
    returns: list[str]
    """Who came back, and at which frame, once for each time."""
    arrivals: list[str]
    """Who came late into the match, and at which frame."""
    resyncs: list[str]
    """Whose state all took over after a desync, and at which frame, once for each time."""
    rollbacks: int
    rollback_depths: list[int]
    """Rollbacks by how many frames they went back: the first is for one frame."""
    resimulated_frames: int
    early_stops: int
    """Rollbacks that ended early, since the state had become what it was."""
    stalls: int
    """Frames at which this computer had to wait."""
    slowed: list[str]
    """For whose sake all played slower, since that member's machine was too slow, and how slow."""
    predicted_frames: int
    """Recorded frames that were first shown from at least one guess."""
    mispredicted_frames: int
    """Recorded frames that were first shown from a wrong guess."""
    left_out: list[str]
    """What the recording lacks: excluded info keys, and paths of values that are not plain."""
    side_file_error: str | None
    """Why the side file ends early or is missing; None if it is whole."""
    recording: str
    peers: list[PeerSummary] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the summary as plain values."""
        return asdict(self)

    def __str__(self) -> str:
        depths = ", ".join(
            f"{depth}:{count}" for depth, count in enumerate(self.rollback_depths, 1) if count
        )
        because = "" if self.cause == "finished" else f": {self.reason}"
        lines = [
            f"episode {self.episode}: {self.frames} frames, {self.cause}{because}",
            f"  rollbacks  {self.rollbacks}  (frames back:count  {depths or 'none'})",
            f"  frames     {self.resimulated_frames} simulated again "
            f"({self.early_stops} rollbacks ended early), {self.stalls} waited, "
            f"{self.predicted_frames} shown from guesses, {self.mispredicted_frames} wrongly",
        ]
        lines += [f"  lost       {loss}" for loss in self.losses if loss != self.reason]
        lines += [f"  came late  {arrival}" for arrival in self.arrivals]
        lines += [f"  returned   {back}" for back in self.returns]
        lines += [f"  slowed by  {slow}" for slow in self.slowed]
        lines += [f"  resynced   {resync}" for resync in self.resyncs]
        for peer in self.peers:
            rtt = "unknown" if peer.rtt_ms is None else f"{peer.rtt_ms:.1f} ms"
            jitter = "unknown" if peer.jitter_ms is None else f"{peer.jitter_ms:.1f} ms"
            lines += [
                f"  peer {peer.peer}     RTT {rtt}, jitter {jitter}, path {peer.path or 'none'}",
                f"             inputs {peer.frames_direct} direct, {peer.frames_relayed} relayed; "
                f"{peer.datagrams_sent} datagrams sent, {peer.datagrams_received} received, "
                f"{peer.datagrams_dropped} dropped",
            ]
        lines.append(f"  recording  {self.recording}")
        if self.left_out:
            lines.append(f"  left out   {', '.join(self.left_out)}")
        if self.side_file_error is not None:
            lines.append(f"  side file  could not be written: {self.side_file_error}")
        return "\n".join(lines)
