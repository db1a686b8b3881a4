//! Who may use the TURN server of this process, and how much of it. Knows no socket.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rollback_signaling::{RELAY_BYTES_PER_SECOND, RELAY_MESSAGES_PER_SECOND, RelayAllowance};
use tokio::sync::watch;

use crate::ice::GUEST;

/// Shared by the server's parts.
#[derive(Debug, Clone)]
pub(crate) struct TurnMembers {
    started_at: Instant,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Members that were offered the server and have not left, and what each may have relayed still.
    present: BTreeMap<String, Arc<Mutex<Allowances>>>,
    /// The ports from which it relays now, with the address that each is of.
    live: BTreeMap<(u16, IpAddr), Live>,
}

/// A port from which it relays.
#[derive(Debug)]
struct Live {
    /// Whose it is.
    client: Client,
    /// When it ends, if that is known.
    end: watch::Sender<Option<Instant>>,
}

/// What one client may have relayed still, over all of its ports.
#[derive(Debug)]
struct Allowances {
    sent: RelayAllowance,
    /// Of what comes from those to whom it has sent.
    received: RelayAllowance,
}

/// What a port may take in still. Anybody may send to it, and what nobody wanted must not use up what others may send.
#[derive(Debug)]
struct Incoming {
    /// The addresses to which its client has sent something.
    known: BTreeSet<IpAddr>,
    from_known: RelayAllowance,
    from_strangers: RelayAllowance,
}

/// Who asked for a port, from where. It has proved that it knows its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) source: SocketAddr,
    /// `end:who`, the end in seconds since 1970.
    pub(crate) username: String,
}

/// Who asked for a port last at one socket. The crate takes one request of a socket after the other, and wants a port
/// only for one that has proved who it is; but it does not say for whom.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asking(Arc<Mutex<Option<Client>>>);

/// A port of a client, until this is dropped.
#[derive(Debug)]
pub(crate) struct Port {
    members: TurnMembers,
    port: (u16, IpAddr),
    allowances: Arc<Mutex<Allowances>>,
    incoming: Mutex<Incoming>,
    end: watch::Receiver<Option<Instant>>,
}

impl TurnMembers {
    pub(crate) fn new() -> Self {
        Self { started_at: Instant::now(), state: Arc::default() }
    }

    /// Somebody is offered the server. Guests need no entry: their names end soon.
    pub(crate) fn admit(&self, who: &str) {
        if !who.starts_with(GUEST) {
            let full = || self.full_allowances(1);
            self.lock().present.entry(who.to_owned()).or_insert_with(full);
        }
    }

    /// A member has left. It gets no new port from now on, and those that it has end after this time.
    pub(crate) fn dismiss(&self, who: &str, after: Duration) {
        let mut state = self.lock();
        state.present.remove(who);
        let end = Instant::now() + after;
        for live in state.live.values().filter(|live| live.client.who() == who) {
            live.end.send_if_modified(|known| {
                let is_first = known.is_none();
                known.get_or_insert(end);
                is_first
            });
        }
    }

    /// Whether a name is good now. That of a member whose port is live outlives its end, as coturn has it: else a match that
    /// outlives its credentials would lose its way.
    pub(crate) fn is_good(&self, username: &str, source: SocketAddr, unix_secs: u64) -> bool {
        let Some((end, who)) = username.split_once(':') else { return false };
        let is_timely = end.parse().is_ok_and(|end: u64| end >= unix_secs);
        if who.starts_with(GUEST) {
            return is_timely;
        }
        let state = self.lock();
        let has_port = || {
            let mut clients = state.live.values().map(|live| &live.client);
            clients.any(|client| client.source == source && client.username == username)
        };
        state.present.contains_key(who) && (is_timely || has_port())
    }

    /// Gives a client a port that was bound; `None` when it, or all together, have too many. That of a guest ends when its
    /// name does.
    pub(crate) fn take(&self, port: (u16, IpAddr), client: Client, unix_secs: u64) -> Option<Port> {
        let mut state = self.lock();
        let who = client.who();
        let is_guest = who.starts_with(GUEST);
        let taken_by = |is_one: &dyn Fn(&str) -> bool| {
            state.live.values().filter(|live| is_one(live.client.who())).count()
        };
        let most = if is_guest { PORTS_OF_GUEST_MAX } else { PORTS_OF_MEMBER_MAX };
        let is_full = state.live.len() >= PORTS_MAX
            || taken_by(&|other| other == who) >= most
            || is_guest && taken_by(&|other| other.starts_with(GUEST)) >= PORTS_OF_GUESTS_MAX;
        if is_full {
            return None;
        }
        let part = if is_guest { GUEST_PART } else { 1 };
        let known = state.present.get(who).map(Arc::clone);
        let allowances = known.unwrap_or_else(|| self.full_allowances(part));
        let valid = client.end().map(|end| Duration::from_secs(end.saturating_sub(unix_secs)));
        let end = valid.filter(|_| is_guest).and_then(|valid| Instant::now().checked_add(valid));
        let (sender, receiver) = watch::channel(end);
        state.live.insert(port, Live { client, end: sender });
        drop(state);
        let incoming = Incoming {
            known: BTreeSet::new(),
            from_known: self.allowance(2, part),
            from_strangers: self.allowance(1, STRANGERS_PART),
        };
        let incoming = Mutex::new(incoming);
        Some(Port { members: self.clone(), port, allowances, incoming, end: receiver })
    }

    /// Whether it relays from this port.
    pub(crate) fn is_live(&self, port: u16) -> bool {
        let first = (port, IpAddr::from([0, 0, 0, 0]));
        self.lock().live.range(first..).next().is_some_and(|((live, _), _)| *live == port)
    }

    fn full_allowances(&self, part: u32) -> Arc<Mutex<Allowances>> {
        let (sent, received) = (self.allowance(1, part), self.allowance(RECEIVED_FACTOR, part));
        Arc::new(Mutex::new(Allowances { sent, received }))
    }

    /// So many times, and then one such part of, what the relay by WebSocket allows.
    fn allowance(&self, factor: u32, part: u32) -> RelayAllowance {
        let of = |most: u32| most * factor / part;
        let (messages, bytes) = (of(RELAY_MESSAGES_PER_SECOND), of(RELAY_BYTES_PER_SECOND));
        RelayAllowance::new(self.started_at.elapsed(), messages, bytes)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    fn who(&self) -> &str {
        self.username.split_once(':').map_or("", |(_, who)| who)
    }

    /// In seconds since 1970.
    fn end(&self) -> Option<u64> {
        self.username.split_once(':')?.0.parse().ok()
    }
}

impl Asking {
    pub(crate) fn note(&self, client: Option<Client>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = client;
    }

    pub(crate) fn take(&self) -> Option<Client> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Port {
    /// Whether the client may send so many bytes there. What comes from that address is known from now on.
    pub(crate) fn may_send(&self, to: IpAddr, bytes: usize) -> bool {
        let is_allowed = lock(&self.allowances).sent.spend(self.now(), bytes);
        if is_allowed {
            let mut incoming = lock(&self.incoming);
            if incoming.known.len() < KNOWN_MAX {
                incoming.known.insert(to.to_canonical());
            }
        }
        is_allowed
    }

    /// Whether so many bytes from there may pass to the client.
    pub(crate) fn may_receive(&self, from: IpAddr, bytes: usize) -> bool {
        let now = self.now();
        let mut incoming = lock(&self.incoming);
        if !incoming.known.contains(&from.to_canonical()) {
            return incoming.from_strangers.spend(now, bytes);
        }
        // The port's own first, so that a flood to one takes little from the others.
        incoming.from_known.spend(now, bytes) && lock(&self.allowances).received.spend(now, bytes)
    }

    /// Waits until it is to end: its member has left, or its guest's time is over.
    pub(crate) async fn ended(&self) {
        let mut end = self.end.clone();
        loop {
            let known = *end.borrow_and_update();
            let changed = match known {
                None => end.changed().await,
                Some(at) => match tokio::time::timeout_at(at.into(), end.changed()).await {
                    Ok(changed) => changed,
                    Err(_) => return,
                },
            };
            // It lives as long as this port.
            if changed.is_err() {
                return;
            }
        }
    }

    fn now(&self) -> Duration {
        self.members.started_at.elapsed()
    }

    pub(crate) const fn members(&self) -> &TurnMembers {
        &self.members
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.members.lock().live.remove(&self.port);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Most ports at once.
const PORTS_MAX: usize = 4096;

/// Most ports of one member: for fifteen others, of three addresses, twice while connections are made anew; and more.
const PORTS_OF_MEMBER_MAX: usize = 128;

/// Most ports of one who only examines: for two ends of several addresses, twice.
const PORTS_OF_GUEST_MAX: usize = 16;

/// Most ports of all together who only examine, so that they leave enough to those who play.
const PORTS_OF_GUESTS_MAX: usize = 256;

/// The part of what a member may send and receive that a port of a guest may.
const GUEST_PART: u32 = 8;

/// What a member may receive over all ports, in times of what it may send: one port may take twice what one member may send,
/// so that none of them, sending from this server too, uses up alone what is there for another, and all four times that.
const RECEIVED_FACTOR: u32 = 8;

/// The part of what a member may send that a port takes from all together to whom its client has sent nothing: enough for the
/// first words of one whose address is not known yet.
const STRANGERS_PART: u32 = 16;

/// Most addresses of which a port remembers that its client has sent to them: those of one other end.
const KNOWN_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000;

    fn client(username: &str) -> Client {
        Client { source: "192.0.2.1:1".parse().unwrap(), username: username.to_owned() }
    }

    fn port(number: usize) -> (u16, IpAddr) {
        (u16::try_from(number).unwrap(), IpAddr::from([192, 0, 2, 9]))
    }

    fn is_good(members: &TurnMembers, username: &str, source: &str) -> bool {
        members.is_good(username, source.parse().unwrap(), NOW)
    }

    #[test]
    fn a_name_is_good_until_it_ends_or_its_member_leaves_and_later_only_for_who_has_a_port() {
        let members = TurnMembers::new();
        let (here, there) = ("192.0.2.1:1", "192.0.2.1:2");
        assert!(!is_good(&members, "1000:a-0", here), "nobody was offered it");
        members.admit("a-0");
        assert!(is_good(&members, "1000:a-0", here) && is_good(&members, "2000:a-0", there));
        assert!(!is_good(&members, "999:a-0", here));
        for none in ["1000:a-1", "1000", "a-0", ":a-0", "x:a-0", "1000:"] {
            assert!(!is_good(&members, none, here), "{none}");
        }
        let live = members.take(port(1), client("999:a-0"), NOW).unwrap();
        assert!(is_good(&members, "999:a-0", here));
        assert!(!is_good(&members, "999:a-0", there) && !is_good(&members, "998:a-0", here));
        drop(live);
        assert!(!is_good(&members, "999:a-0", here));
        let _live = members.take(port(1), client("999:a-0"), NOW).unwrap();
        members.dismiss("a-0", Duration::ZERO);
        for name in ["999:a-0", "2000:a-0"] {
            assert!(!is_good(&members, name, here), "{name}");
        }
        let guest = format!("1000:{GUEST}7");
        assert!(is_good(&members, &guest, here));
        let ended = format!("999:{GUEST}7");
        let _live = members.take(port(2), client(&ended), NOW).unwrap();
        assert!(!is_good(&members, &ended, here), "a guest has no match that goes on");
    }

    #[test]
    fn so_many_ports_for_each_and_for_all_and_no_more() {
        let members = TurnMembers::new();
        let takes =
            |number: usize, username: &str| members.take(port(number), client(username), NOW);
        let mut mine: Vec<Port> =
            (0..PORTS_OF_MEMBER_MAX).map(|number| takes(number, "1000:a-0").unwrap()).collect();
        assert!(takes(5000, "1000:a-0").is_none());
        assert!(takes(5000, "2000:a-0").is_none(), "another name of the same member");
        let others: Vec<Port> = (PORTS_OF_MEMBER_MAX..PORTS_MAX)
            .map(|number| takes(number, &format!("1000:b-{}", number / 100)).unwrap())
            .collect();
        assert!(takes(5000, "1000:c-0").is_none());
        mine.pop();
        assert!(members.is_live(0) && !members.is_live(127) && !members.is_live(5000));
        let last = takes(5000, "1000:a-0").unwrap();
        drop((mine, others, last));
        assert!(members.lock().live.is_empty());
    }

    #[test]
    fn guests_leave_ports_to_those_who_play() {
        let members = TurnMembers::new();
        let takes =
            |number: usize, username: &str| members.take(port(number), client(username), NOW);
        let guest = |number: usize| format!("1060:{GUEST}{}", number / PORTS_OF_GUEST_MAX);
        let mut guests: Vec<Port> =
            (0..PORTS_OF_GUESTS_MAX).map(|number| takes(number, &guest(number)).unwrap()).collect();
        assert!(takes(5000, &guest(5000)).is_none());
        let _member = takes(5000, "1060:a-0").unwrap();
        guests.pop();
        let _last = takes(5001, &guest(5001)).unwrap();
    }

    #[test]
    fn what_a_member_sends_is_limited_over_all_of_its_ports_and_not_for_others() {
        let members = TurnMembers::new();
        members.admit("a-0");
        members.admit("a-1");
        let [one, two] = [1, 2].map(|it| members.take(port(it), client("1000:a-0"), NOW).unwrap());
        let other = members.take(port(3), client("1000:a-1"), NOW).unwrap();
        let to = IpAddr::from([192, 0, 2, 2]);
        let passed = (0..10_000).filter(|_| one.may_send(to, 1000)).count();
        assert!((1000..2000).contains(&passed), "{passed}");
        assert!(!two.may_send(to, RELAY_BYTES_PER_SECOND as usize));
        assert!(other.may_send(to, RELAY_BYTES_PER_SECOND as usize));
        assert!(one.may_receive(to, 1000), "what comes has an allowance of its own");
    }

    #[test]
    fn a_flood_to_a_port_takes_nothing_from_what_is_sent_nor_from_those_who_were_spoken_to() {
        let members = TurnMembers::new();
        members.admit("a-0");
        let [one, two] = [1, 2].map(|it| members.take(port(it), client("1000:a-0"), NOW).unwrap());
        let [known, stranger] = [2, 3].map(|host| IpAddr::from([192, 0, 2, host]));
        assert!(
            one.may_receive(stranger, 100),
            "the first words of one whose address is not known"
        );
        assert!(one.may_send(known, 100) && two.may_send(known, 100));
        let passed = (0..100_000).filter(|_| one.may_receive(stranger, 1)).count();
        assert!(passed < RELAY_MESSAGES_PER_SECOND as usize, "{passed}");
        assert!(one.may_receive(known, 100) && two.may_receive(stranger, 100));
        // With the address of one that was spoken to it stops this port only.
        let most = 4 * RELAY_MESSAGES_PER_SECOND as usize;
        let passed = (0..100_000).filter(|_| one.may_receive(known, 1)).count();
        assert!(passed < most, "{passed}");
        assert!(two.may_receive(known, 100) && one.may_send(known, 100));
    }

    #[test]
    fn a_guest_sends_less_and_a_port_remembers_so_many_addresses() {
        let members = TurnMembers::new();
        let guest = members.take(port(1), client(&format!("1060:{GUEST}7")), NOW).unwrap();
        let to = |number: u16| IpAddr::from(std::net::Ipv6Addr::new(1, 0, 0, 0, 0, 0, 0, number));
        let passed = (0..10_000).filter(|number| guest.may_send(to(*number), 1)).count();
        assert!(passed < RELAY_MESSAGES_PER_SECOND as usize, "{passed}");
        assert_eq!(lock(&guest.incoming).known.len(), KNOWN_MAX);
    }

    #[tokio::test]
    async fn ports_end_when_their_member_leaves_or_the_time_of_their_guest_is_over() {
        let members = TurnMembers::new();
        let soon = Duration::from_secs(10);
        let is_ended = async |port: &Port| {
            tokio::time::timeout(Duration::from_millis(1), port.ended()).await.is_ok()
        };
        for name in ["a-0", "a-1"] {
            members.admit(name);
        }
        let take = |number: usize, username: &str| {
            members.take(port(number), client(username), NOW).unwrap()
        };
        let [mine, later, others] =
            [(1, "1000:a-0"), (2, "2000:a-0"), (3, "1000:a-1")].map(|(it, name)| take(it, name));
        let [over, guest] =
            [(4, "1000"), (5, "1060")].map(|(it, end)| take(it, &format!("{end}:{GUEST}7")));
        for (port, expected) in
            [(&mine, false), (&later, false), (&others, false), (&over, true), (&guest, false)]
        {
            assert_eq!(is_ended(port).await, expected, "{:?}", port.port);
        }
        let waits = async { tokio::time::timeout(soon, mine.ended()).await.is_ok() };
        let (has_ended, ()) = tokio::join!(waits, async { members.dismiss("a-0", Duration::ZERO) });
        assert!(has_ended && is_ended(&later).await && !is_ended(&others).await);
        members.dismiss("a-1", soon);
        assert!(!is_ended(&others).await);
    }
}
