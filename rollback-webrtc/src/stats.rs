//! What is counted about one peer, and what happens to the mesh as a whole.

use std::time::Duration;

use rollback_core::spectate::WatcherId;
use rollback_core::{LinkCounters, PeerId};

use crate::health::Unhealthy;
use crate::ice::TurnTrouble;
use crate::path::Path;
use crate::relay::RelayTrouble;

/// What went over one way to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WayCounters {
    /// Datagrams handed to it.
    pub datagrams_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Datagrams that arrived.
    pub datagrams_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Those of them that arrived after later ones, by whatever way these came.
    pub datagrams_overtaken: u64,
    /// Those of them that had arrived already.
    pub datagrams_duplicate: u64,
    /// The inputs in all of these, as far as a game loop reads and writes them.
    pub inputs: InputsPassed,
}

/// Frames of inputs that went between two peers in datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InputsPassed {
    /// Sent, those that were repeated included.
    pub sent: u64,
    /// Received for the first time.
    pub received: u64,
    /// Received although they were held already.
    pub duplicate: u64,
    /// Of those received for the first time: after the frame had been stepped with a guess.
    pub late: u64,
}

impl InputsPassed {
    /// What a session counted, and what came by others.
    pub(crate) const fn of(counters: &LinkCounters) -> Self {
        Self {
            sent: counters.frames_sent,
            received: counters.frames_direct + counters.frames_relayed,
            duplicate: counters.frames_repeated,
            late: counters.frames_late,
        }
    }

    /// What has passed since `before`.
    pub(crate) const fn since(self, before: Self) -> Self {
        Self {
            sent: self.sent.saturating_sub(before.sent),
            received: self.received.saturating_sub(before.received),
            duplicate: self.duplicate.saturating_sub(before.duplicate),
            late: self.late.saturating_sub(before.late),
        }
    }
}

/// What was counted about one peer since the start, and its connection as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeerStats {
    /// Whether datagrams can be sent to it now, over whatever way.
    pub is_connected: bool,
    /// The way that datagrams take, while connected.
    pub path: Option<Path>,
    /// What was wrong last with a TURN server that a connection to this peer should have used.
    pub turn_trouble: Option<TurnTrouble>,
    /// Attempts to connect, with those that worked.
    pub attempts: u64,
    /// Those of them that ended because a certificate was not that of its description.
    pub certificates_refused: u64,
    /// Datagrams handed to the connection.
    pub datagrams_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Datagrams dropped before they were sent, because newer ones came faster than they could go.
    pub datagrams_not_sent: u64,
    /// Datagrams that arrived, with those that the link conditions lost.
    pub datagrams_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// What of all that went over direct WebRTC connections.
    pub direct: WayCounters,
    /// What went over WebRTC connections through TURN.
    pub turn: WayCounters,
    /// What went through the relay of the server.
    pub server_relay: WayCounters,
    /// How often the way was another one than before.
    pub switches: u64,
    /// Datagrams that the link conditions lost.
    pub datagrams_lost_by_conditions: u64,
    /// Datagrams that arrived and were dropped, because the game did not take the older ones.
    pub datagrams_not_taken: u64,
    /// Whether the peer left the room for good, or comes late and has not come yet.
    pub has_left: bool,
    /// Bulk messages accepted for sending.
    pub bulk_sent: u64,
    /// Bulk messages that the game took.
    pub bulk_received: u64,
    /// Things from the peer that no honest peer sends, all dropped: datagrams above the limit, broken
    /// bulk frames, signals that are not valid.
    pub violations: u64,
    /// Why nothing is taken from the peer any more, if it is shut out.
    pub shut_out: Option<ShutOut>,
    /// Signals of attempts that were over already, candidates that did not fit any more, or came too many at once, all
    /// dropped. Some are normal, many where the way is bad.
    pub stale_signals: u64,
    /// Those of them that had been taken once: descriptions that came again.
    pub replayed_signals: u64,
}

/// Why nothing is heard of a peer, as far as this side knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// It left the room.
    Left,
    /// It is shut out.
    ShutOut(ShutOut),
    /// Nothing came over its connection any more, and it could not be made anew: every attempt since then has failed.
    IceFailed,
    /// Nothing came over its connection any more, and since then a certificate was not that of its description.
    CertificateRefused,
    /// Nothing came over its connection any more, and it did not recover in the time that there was.
    ReconnectionTimeout,
    /// The way to it works, but its game says nothing.
    Silent,
}

impl Loss {
    /// The reason in a word or two, for files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::ShutOut(why) => why.name(),
            Self::IceFailed => "ice_failed",
            Self::CertificateRefused => "certificate_refused",
            Self::ReconnectionTimeout => "reconnection_timeout",
            Self::Silent => "silent",
        }
    }
}

/// What a peer did that no honest one does, so that it is shut out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutOut {
    /// It sent more, or faster, than any session.
    Flood,
    /// Again and again it sent datagrams that are too long, or what is neither a datagram nor anything else.
    Malformed,
    /// Again and again it sent datagrams that are not of the session, or not its own.
    Forged,
}

impl ShutOut {
    /// The reason in one word, for files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flood => "flood",
            Self::Malformed => "malformed",
            Self::Forged => "forged",
        }
    }
}

/// Whose certificate is not that of its description, which came through the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateOwner {
    /// The peer's, or that of somebody in its place: this side refuses it.
    Peer,
    /// This member's own, says whoever is at the other end: the description did not get there as it was sent, or that is not
    /// the peer.
    Own,
}

impl CertificateOwner {
    /// In one word, for files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Peer => "theirs",
            Self::Own => "ours",
        }
    }
}

/// Something that happened to the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportEvent {
    /// Datagrams can be sent to this peer now, over whatever way.
    PeerConnected {
        /// The peer.
        peer: PeerId,
    },
    /// A probe came back from the peer: both directions of the way to it work.
    PeerProved {
        /// The peer.
        peer: PeerId,
        /// How long that took.
        round_trip: Duration,
    },
    /// Before an episode the way to the peer is worse than it may be.
    PeerUnhealthy {
        /// The peer.
        peer: PeerId,
        /// What is wrong.
        why: Unhealthy,
    },
    /// The way that datagrams take is known, or is another one than before.
    PathChosen {
        /// The peer.
        peer: PeerId,
        /// The way.
        path: Path,
    },
    /// A TURN server is of no use for a connection to this peer. Other ways may be.
    TurnFailed {
        /// The peer.
        peer: PeerId,
        /// Why.
        trouble: TurnTrouble,
    },
    /// An attempt to connect to the peer ended because a certificate was not that of its description: somebody is in between, or
    /// changes descriptions on their way. Other ways may work, and attempts go on.
    CertificateRefused {
        /// The peer.
        peer: PeerId,
        /// Whose certificate.
        whose: CertificateOwner,
    },
    /// The peer is reached over no way, for as long as [`told_after`](crate::TransportConfig::told_after) says; attempts to
    /// reach it go on.
    PeerReconnecting {
        /// The peer.
        peer: PeerId,
        /// What it looks like so far.
        why: Loss,
    },
    /// The peer is reached again, after it was told that it is not.
    PeerReconnected {
        /// The peer.
        peer: PeerId,
        /// For how long it was not.
        after: Duration,
    },
    /// There is no way left; attempts to get one go on.
    PeerDisconnected {
        /// The peer.
        peer: PeerId,
    },
    /// The peer sent what no honest one sends. Its connection is closed, nothing is taken from its process any more, and
    /// game loops [send it away](rollback_core::Session::kick).
    PeerShutOut {
        /// The peer.
        peer: PeerId,
        /// What it did.
        why: ShutOut,
    },
    /// One who watches through this member sent what no honest one sends. Its connection is closed, and nothing is taken from
    /// its process any more; the match goes on.
    WatcherShutOut {
        /// Who.
        watcher: WatcherId,
        /// What it did.
        why: ShutOut,
    },
    /// A description of the peer that was taken already came again, which is dropped: it, or somebody between it and here,
    /// repeats what was said. Told of a peer once.
    SignalsReplayed {
        /// The peer.
        peer: PeerId,
    },
    /// The peer left for good; its slot stays empty.
    PeerLeft {
        /// The peer.
        peer: PeerId,
    },
    /// The connection to the server is lost. Connected peers stay connected.
    SignalingLost,
    /// The server is back.
    SignalingRegained,
    /// The server will not have this member back, so lost connections stay lost. Connected peers
    /// stay connected.
    SignalingEnded,
    /// The server relays nothing for this member, for a reason that may last. Connected peers stay connected over other
    /// ways. Told once, and again after the relay was there.
    RelayRefused {
        /// Why; unless it is final it asks again, at least once a minute.
        trouble: RelayTrouble,
    },
    /// Another process came back with this member's token and has its slot now: this one is out of the match.
    Replaced,
}
