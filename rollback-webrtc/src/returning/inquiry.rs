//! How one that came late or back learns which episode of its match is played.

use std::collections::BTreeMap;
use std::time::Duration;

use rollback_core::{PeerId, PeerSet, Timestamp};

use super::ReturnError;
use super::notice::{Notice, Stage};
use crate::datagram_transport::DatagramTransport;
use crate::lobby::Room;

/// Where the others are in a match.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// The number of the episode that is played, or waits for its members.
    pub episode: u32,
    /// How many episodes of the match were completed before it.
    pub completed_episodes: u32,
    /// Whether it is played already, so that whoever comes back has to be let in; else it begins with it.
    pub has_begun: bool,
    /// Those who come late and had not come when it began: they have to be let in however far it is.
    pub late: PeerSet,
}

/// Asks the others, for as long as it is polled. Between two episodes nobody answers.
///
/// ```no_run
/// # use std::time::Duration;
/// # use rollback_core::*;
/// # use rollback_webrtc::*;
/// # fn saved_token() -> Option<String> { None }
/// # fn play<G: Game>(mut reset: impl FnMut(u64) -> G, config: SessionConfig) -> Result<(), Box<dyn std::error::Error>>
/// # where G::Error: std::error::Error + 'static {
/// // The token of a process that died, from wherever `room().token` was kept; none for a first one.
/// let transport_config = TransportConfig { token: saved_token(), ..TransportConfig::default() };
/// let mut transport = Transport::join_blocking("wss://play.example.org/duel", transport_config)?;
/// let room = transport.room().clone();
/// let mut setup = EpisodeSetup::of_room(&room, config)?;
/// if room.life > 0 {
///     let standing = Inquiry::new(&room).wait(&mut transport, Duration::from_secs(60))?;
///     setup = setup.for_standing(room.seed, standing);
/// }
/// let mut game = reset(setup.ticket.seed);
/// let mut episode = GameLoop::new(transport, setup, &game)?;    // and on as ever
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Inquiry {
    life: u8,
    others: Vec<PeerId>,
    late: PeerSet,
    began: Option<Timestamp>,
    asked_at: Option<Timestamp>,
    /// Who waits for an episode to begin, and since when that is known of the first.
    waiting: BTreeMap<PeerId, Standing>,
    waiting_since: Option<Timestamp>,
}

impl Inquiry {
    /// The question of the process that joined this room late, or came back: in a life of its slot that is not the first.
    #[must_use]
    pub fn new(room: &Room) -> Self {
        let others = room.members.iter().map(|member| member.peer);
        Self {
            life: room.life,
            late: room.late,
            others: others.filter(|peer| *peer != room.local).collect(),
            began: None,
            asked_at: None,
            waiting: BTreeMap::new(),
            waiting_since: None,
        }
    }

    /// Asks where that is due and looks at what was answered; `None` while it is not known.
    ///
    /// # Errors
    /// When all others have left, when nobody is let in, or when nobody has answered within `patience`, counted from the
    /// first call.
    pub fn poll<T: DatagramTransport>(
        &mut self,
        transport: &mut T,
        patience: Duration,
    ) -> Result<Option<Standing>, ReturnError> {
        let now = transport.now();
        let began = *self.began.get_or_insert(now);
        if self.asked_at.is_none_or(|at| now.since(at) >= ASK_EVERY) {
            self.asked_at = Some(now);
            let ask = Notice::Ask { life: self.life }.encode();
            for peer in &self.others {
                transport.try_send_notice(*peer, &ask);
            }
        }
        while let Some((from, bytes)) = transport.try_receive_notice() {
            let Some(Notice::Answer { life, episode, completed, stage, late }) =
                Notice::decode(&bytes)
            else {
                continue;
            };
            let (has_begun, late) = (stage == Stage::Begun, late.and(self.late));
            let standing = Standing { episode, completed_episodes: completed, has_begun, late };
            match stage {
                _ if life != self.life => {}
                Stage::Begun => return Ok(Some(standing)),
                Stage::Closed => return Err(ReturnError::Closed { by: from }),
                Stage::NotBegun => {
                    self.waiting_since.get_or_insert(now);
                    self.waiting.insert(from, standing);
                }
            }
        }
        if self.others.iter().all(|peer| transport.has_left(*peer)) {
            return Err(ReturnError::MatchOver);
        }
        // One that says that the episode has begun is believed before all that have not heard of it.
        let is_said_by_all = self
            .others
            .iter()
            .all(|peer| self.waiting.contains_key(peer) || transport.has_left(*peer));
        let is_late = self.waiting_since.is_some_and(|at| now.since(at) >= OTHERS_MAX);
        if is_said_by_all || is_late {
            let newest = self.waiting.values().max_by_key(|standing| standing.episode);
            return Ok(newest.copied());
        }
        match now.since(began) >= patience {
            true => Err(ReturnError::NobodyAnswers { within: patience }),
            false => Ok(None),
        }
    }

    /// Asks until it is known.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub fn wait<T: DatagramTransport>(
        mut self,
        transport: &mut T,
        patience: Duration,
    ) -> Result<Standing, ReturnError> {
        loop {
            if let Some(standing) = self.poll(transport, patience)? {
                return Ok(standing);
            }
            transport.wait(ASK_EVERY / 5);
        }
    }
}

/// How often the others are asked: an answer that is lost with its connection comes again.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// How long others are waited for when one says that the episode has not begun.
const OTHERS_MAX: Duration = Duration::from_secs(3);
