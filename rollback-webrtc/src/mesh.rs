//! The task that owns the connections to all other members: it hears the signaling server and the
//! connections, lets each pair decide, and does what the pairs decide.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rollback_core::{PeerId, Timestamp};
use rollback_signaling::{
    ClientMessage, ErrorCode, MEMBERS_MAX, Member, OfferedIceServer, OfferedIceServers,
    ServerMessage, Token, WATCHER_SLOTS,
};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use self::relaying::Relaying;
use self::watching::Shown;
use crate::error::JoinError;
use crate::ice::IceServer;
use crate::link_conditions::LinkConditions;
use crate::lobby::{JoinProgress, Lobby, Room, RoomMember};
use crate::mailbox::Mailbox;
use crate::neighbours::Neighbours;
use crate::pair::{Pair, Role};
use crate::peer_connection::ConnectionSetup;
use crate::random::SplitMix64;
use crate::relay::RelaySetup;
use crate::signaling_client::{SignalingClient, SignalingEvent};
use crate::stats::TransportEvent;

/// What a mesh needs at its start.
pub(crate) struct MeshSetup {
    pub(crate) connection: ConnectionSetup,
    /// The same for those who watch, with a mailbox of their own.
    pub(crate) watching: ConnectionSetup,
    pub(crate) lobby: Arc<Lobby>,
    pub(crate) conditions: LinkConditions,
    /// `None` when nothing is to pass the server.
    pub(crate) relay: Option<RelaySetup>,
    pub(crate) link: String,
    pub(crate) connect_timeout: Duration,
    /// For the jitter of delays.
    pub(crate) seed: u64,
}

/// The mesh's state.
pub(crate) struct Mesh {
    mailbox: Arc<Mailbox>,
    lobby: Arc<Lobby>,
    conditions: LinkConditions,
    link: String,
    connect_timeout: Duration,
    seeds: SplitMix64,
    stage: Stage,
    /// Why the last try to reach the server failed.
    last_failure: String,
    /// The other members; of one who watches, those that it is fed by.
    members: Neighbours,
    /// Those who watch through this member, by their place.
    watchers: Neighbours,
    /// Who is connected to the server, where this one watches.
    watched: BTreeMap<u8, Member>,
    server: mpsc::Sender<ClientMessage>,
    relaying: Relaying,
}

/// How far joining is.
enum Stage {
    /// The server has not answered yet, and must until then.
    Connecting { until: Timestamp },
    /// The group is not complete yet.
    Waiting { joined: Joined, members: BTreeMap<u8, Member> },
    /// The group is complete.
    Playing { session_id: u64, has_signaling: bool },
    /// Joining failed; there is nothing more to do.
    Over,
}

#[derive(Clone, Copy)]
struct Joined {
    local: PeerId,
    token: Token,
    expected: u8,
    begins_with: u8,
}

impl Mesh {
    /// A mesh and the channels to its signaling client.
    pub(crate) fn new(setup: MeshSetup, server: mpsc::Sender<ClientMessage>) -> Self {
        let until = setup.connection.clock.now().plus(setup.connect_timeout);
        Self {
            mailbox: Arc::clone(&setup.connection.mailbox),
            lobby: setup.lobby,
            conditions: setup.conditions,
            link: setup.link,
            connect_timeout: setup.connect_timeout,
            seeds: SplitMix64::new(setup.seed),
            stage: Stage::Connecting { until },
            last_failure: "no answer".to_owned(),
            members: Neighbours::new(setup.connection),
            watchers: Neighbours::new(setup.watching),
            watched: BTreeMap::new(),
            server,
            relaying: Relaying::new(setup.relay),
        }
    }

    /// Runs until `close`, or until joining has failed.
    pub(crate) async fn run(
        mut self,
        client: SignalingClient,
        mut signaling: mpsc::Receiver<SignalingEvent>,
        close: CancellationToken,
    ) {
        let stop_client = CancellationToken::new();
        // These end with the mesh, whatever becomes of it: its thread may live on.
        let client = AbortOnDropHandle::new(tokio::spawn(client.run(stop_client.clone())));
        let _waking = [self.mailbox.start_waking(), self.watchers.setup.mailbox.start_waking()];
        while !matches!(self.stage, Stage::Over) {
            let until_timeout = self.next_timeout().map(|at| at.since(self.now()));
            tokio::select! {
                () = close.cancelled() => break,
                Some(event) = signaling.recv() => self.handle_signaling(event),
                happened = self.members.next() => {
                    let now = self.mailbox.now();
                    self.members.handle(now, happened);
                }
                happened = self.watchers.next() => self.handle_watchers(happened),
                event = self.relaying.next() => self.handle_relay(event),
                () = sleep(until_timeout) => self.handle_timeout(),
            }
            self.act();
        }
        stop_client.cancel();
        self.members.close().await;
        self.watchers.close().await;
        // The goodbye to the server must not hold up the end.
        if timeout(GOODBYE_MAX, client).await.is_err() {
            tracing::debug!("the server did not take the goodbye in time");
        }
    }

    fn handle_signaling(&mut self, event: SignalingEvent) {
        match event {
            SignalingEvent::Message(message) => self.handle_message(message),
            SignalingEvent::Lost { reason } => self.handle_lost(reason),
            SignalingEvent::Refused { code, message } => {
                self.handle_refused(JoinError::Refused { code, message });
            }
            SignalingEvent::Foreign { reason } => {
                self.handle_refused(JoinError::Protocol { reason });
            }
        }
    }

    fn handle_lost(&mut self, reason: String) {
        tracing::debug!(%reason, "the connection to the server is lost");
        self.last_failure = reason;
        self.fail_if_unreachable();
        if let Stage::Playing { has_signaling, .. } = &mut self.stage
            && std::mem::take(has_signaling)
        {
            self.mailbox.report(TransportEvent::SignalingLost);
            self.pairs().for_each(|pair| pair.handle_signaling(false));
        }
    }

    fn handle_refused(&mut self, error: JoinError) {
        if let Stage::Playing { has_signaling, .. } = &mut self.stage {
            *has_signaling = false;
            tracing::info!(%error, "the server will not have this member back");
            if let JoinError::Refused { code: ErrorCode::Replaced, .. } = error {
                self.mailbox.replaced();
                self.mailbox.report(TransportEvent::Replaced);
            }
            self.mailbox.report(TransportEvent::SignalingEnded);
            self.pairs().for_each(|pair| pair.handle_signaling(false));
        } else {
            self.fail(error);
        }
    }

    fn handle_message(&mut self, message: ServerMessage) {
        match message {
            ServerMessage::IceServers { servers, .. } => self.handle_ice_servers(&servers),
            ServerMessage::Joined { slot, token, members, expected, begins_with } => {
                self.handle_joined((slot, token), members, (expected, begins_with));
            }
            ServerMessage::MemberJoined { member } => {
                self.change_waiting(|members| {
                    members.insert(member.slot, member.clone());
                });
                // Where play has begun it came late, into a slot that was kept for it.
                self.handle_member_here(member);
            }
            ServerMessage::Ready { session_id, seed, members, reserved_from } => {
                self.handle_ready((session_id, seed), &members, reserved_from);
            }
            ServerMessage::Signal { from, payload } => self.handle_signal(from, payload),
            ServerMessage::Watching { place, token, session_id, seed, members, expected } => {
                self.handle_watching(place, Shown { token, session_id, seed, members, expected });
            }
            ServerMessage::WatcherJoined { place, incarnation } => {
                self.handle_watcher(place, incarnation);
            }
            ServerMessage::WatcherLeft { place } => {
                self.watchers.with_pair(place, Pair::handle_peer_away);
            }
            ServerMessage::MemberAway { slot } => {
                self.members.with_pair(slot, Pair::handle_peer_away);
                self.change_watched(slot, None);
            }
            ServerMessage::MemberBack { member } => self.handle_member_here(member),
            ServerMessage::MemberLeft { slot } => {
                self.change_waiting(|members| {
                    members.remove(&slot);
                });
                self.members.with_pair(slot, Pair::handle_peer_left);
                self.change_watched(slot, None);
            }
            // Of an error the signaling client makes an end of the connection; nobody has asked for the other.
            ServerMessage::Error { .. } | ServerMessage::Examined { .. } => {}
        }
    }

    fn handle_member_here(&mut self, member: Member) {
        let now = self.now();
        let here = |pair: &mut Pair| pair.handle_peer_here(now, member.incarnation);
        self.members.with_pair(member.slot, here);
        self.change_watched(member.slot, Some(member));
    }

    fn handle_joined(
        &mut self,
        (slot, token): (u8, Token),
        members: Vec<Member>,
        (expected, begins_with): (u8, u8),
    ) {
        if let Stage::Playing { .. } = self.stage {
            // Ready follows, and says more.
            return;
        }
        let is_size = expected <= MEMBERS_MAX && (1..=expected).contains(&begins_with);
        let Some(local) = PeerId::new(slot).filter(|_| slot < expected && is_size) else {
            let reason = format!("it gives slot {slot} of {expected}, of whom {begins_with} begin");
            self.fail(JoinError::Protocol { reason });
            return;
        };
        let members = members.into_iter().map(|member| (member.slot, member)).collect();
        self.stage =
            Stage::Waiting { joined: Joined { local, token, expected, begins_with }, members };
        self.change_waiting(|_| {});
    }

    /// For connections that are made from now on.
    fn handle_ice_servers(&self, offered: &OfferedIceServers) {
        let server = |server: &OfferedIceServer| IceServer {
            url: server.url.to_string(),
            username: server.username.to_string(),
            credential: server.credential.to_string(),
        };
        let servers: Vec<IceServer> = offered.as_slice().iter().map(server).collect();
        // Those who watch have the same.
        self.members.setup.ice_servers.offer(&servers);
    }

    fn handle_ready(
        &mut self,
        (session_id, seed): (u64, u64),
        members: &[Member],
        reserved_from: u8,
    ) {
        match &mut self.stage {
            Stage::Waiting { joined, .. } => {
                let joined = *joined;
                self.start_playing(joined, (session_id, seed), members, reserved_from);
            }
            Stage::Playing { session_id: own, has_signaling } if *own == session_id => {
                if !std::mem::replace(has_signaling, true) {
                    self.mailbox.report(TransportEvent::SignalingRegained);
                }
                self.resume_playing(members, reserved_from);
            }
            Stage::Playing { .. } => {
                let reason = "it gives another session".to_owned();
                self.handle_refused(JoinError::Protocol { reason });
            }
            Stage::Connecting { .. } | Stage::Over => {}
        }
    }

    fn start_playing(
        &mut self,
        joined: Joined,
        (session_id, seed): (u64, u64),
        members: &[Member],
        reserved_from: u8,
    ) {
        let is_known = |member: &Member| member.slot < reserved_from;
        let room = room(joined, session_id, seed, members);
        let Some(room) = room.filter(|_| members.iter().all(is_known)) else {
            let reason = "its list of members makes no sense".to_owned();
            self.fail(JoinError::Protocol { reason });
            return;
        };
        for member in members {
            let Some(peer) = PeerId::new(member.slot).filter(|peer| *peer != joined.local) else {
                continue;
            };
            self.insert_member(joined.local, peer, member.incarnation, member.connected);
        }
        let is_lacking =
            |peer: &PeerId| *peer != joined.local && !self.members.peers.contains_key(peer);
        let slots = (0..joined.expected).filter_map(PeerId::new);
        for peer in slots.filter(is_lacking).collect::<Vec<_>>() {
            self.mailbox.update(peer, |stats| stats.has_left = true);
            if peer.slot() >= reserved_from {
                self.insert_member(joined.local, peer, NOBODY_YET, false);
            }
        }
        self.mailbox.set_conditions(&self.conditions, joined.local);
        self.stage = Stage::Playing { session_id, has_signaling: true };
        self.start_relay(joined.token);
        self.lobby.open(room);
    }

    fn insert_member(&mut self, local: PeerId, peer: PeerId, incarnation: u64, is_here: bool) {
        let now = self.now();
        let role = if local < peer { Role::Offerer } else { Role::Answerer };
        let mut pair = Pair::new(now, role, incarnation, self.seeds.next());
        if !is_here {
            pair.handle_peer_away();
        }
        self.members.insert(now, peer, pair);
    }

    /// This member returned to the server and hears how things are now.
    fn resume_playing(&mut self, members: &[Member], reserved_from: u8) {
        let now = self.now();
        for (peer, neighbour) in &mut self.members.peers {
            let pair = &mut neighbour.pair;
            pair.handle_signaling(true);
            match members.iter().find(|member| member.slot == peer.slot()) {
                Some(member) if member.connected => pair.handle_peer_here(now, member.incarnation),
                Some(_) => pair.handle_peer_away(),
                // Whoever comes late has not come yet.
                None if peer.slot() >= reserved_from => {}
                None => pair.handle_peer_left(),
            }
        }
    }

    fn change_waiting(&mut self, change: impl FnOnce(&mut BTreeMap<u8, Member>)) {
        if let Stage::Waiting { joined, members } = &mut self.stage {
            change(members);
            let expected = usize::from(joined.begins_with);
            self.lobby.set_progress(JoinProgress { members: members.len(), expected });
        }
    }

    fn handle_timeout(&mut self) {
        let now = self.now();
        self.fail_if_unreachable();
        self.members.handle_timeout(now);
        self.watchers.handle_timeout(now);
    }

    fn next_timeout(&self) -> Option<Timestamp> {
        match self.stage {
            Stage::Connecting { until } => Some(until),
            _ => {
                let timeouts = [self.members.next_timeout(), self.watchers.next_timeout()];
                timeouts.into_iter().flatten().min()
            }
        }
    }

    fn pairs(&mut self) -> impl Iterator<Item = &mut Pair> {
        self.members.pairs().chain(self.watchers.pairs())
    }

    /// Does what the pairs have decided.
    fn act(&mut self) {
        // When the server does not read, the attempt's deadline repairs what is lost here.
        let server = &self.server;
        let signal = |to, payload| drop(server.try_send(ClientMessage::Signal { to, payload }));
        let relaying = &self.relaying;
        let hear = |slot, is_heard| relaying.note_heard(slot, is_heard);
        let now = self.mailbox.now();
        self.members.act(
            now,
            |peer, payload| signal(peer.slot(), payload),
            |peer, is_heard| hear(peer.slot(), is_heard),
        );
        self.watchers.act(
            now,
            |place, payload| signal(WATCHER_SLOTS + place.slot(), payload),
            |place, is_heard| hear(WATCHER_SLOTS + place.slot(), is_heard),
        );
    }

    /// Gives up when the server has not answered in time.
    fn fail_if_unreachable(&mut self) {
        if let Stage::Connecting { until } = self.stage
            && self.now() >= until
        {
            let (link, within) = (self.link.clone(), self.connect_timeout);
            let reason = self.last_failure.clone();
            self.fail(JoinError::Unreachable { link, within, reason });
        }
    }

    fn fail(&mut self, error: JoinError) {
        self.lobby.fail(error);
        self.stage = Stage::Over;
    }

    fn now(&self) -> Timestamp {
        self.mailbox.now()
    }
}

/// The room, if the server's list of members makes sense: known slots, ascending, this one included.
fn room(joined: Joined, session_id: u64, seed: u64, members: &[Member]) -> Option<Room> {
    let slots = members.iter().map(|member| member.slot);
    let is_valid = slots.clone().is_sorted_by(|left, right| left < right)
        && slots.clone().all(|slot| slot < joined.expected)
        && slots.clone().any(|slot| slot == joined.local.slot());
    let life = members.iter().find(|member| member.slot == joined.local.slot())?.life;
    // Whoever comes back is not told of those that have left for good.
    let member = |slot| {
        let member = members.iter().find(|member| member.slot == slot);
        let name = member.and_then(|member| member.name.as_ref());
        let settings = member.map(|member| member.settings.as_str());
        Some(RoomMember {
            peer: PeerId::new(slot)?,
            name: name.map(|name| name.as_str().to_owned()),
            settings: settings.unwrap_or_default().to_owned(),
        })
    };
    let members = (0..joined.expected).map(member).collect::<Option<_>>().filter(|_| is_valid)?;
    let token = joined.token.into();
    let late = (joined.begins_with..joined.expected).filter_map(PeerId::new).collect();
    Some(Room { local: joined.local, members, late, session_id, seed, token, life })
}

async fn sleep(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

/// The process of a slot that is kept for one who comes late: none has this number but by chance.
const NOBODY_YET: u64 = 0;

/// How long the goodbye to the server may take after all connections are closed.
const GOODBYE_MAX: Duration = Duration::from_millis(500);

mod relaying;
mod watching;

#[cfg(test)]
mod tests;
