//! Who may use the TURN server of this process, and how much of it. Knows no socket.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rollback_signaling::{RELAY_BYTES_PER_SECOND, RELAY_MESSAGES_PER_SECOND, RelayAllowance};

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
    present: BTreeMap<String, Arc<Mutex<RelayAllowance>>>,
    /// The ports from which it relays now, with the address that each is of, and whose they are.
    live: BTreeMap<(u16, IpAddr), Client>,
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
    allowance: Arc<Mutex<RelayAllowance>>,
}

impl TurnMembers {
    pub(crate) fn new() -> Self {
        Self { started_at: Instant::now(), state: Arc::default() }
    }

    /// Somebody is offered the server. Guests need no entry: their names end soon.
    pub(crate) fn admit(&self, who: &str) {
        if !who.starts_with(GUEST) {
            let full = || self.full_allowance();
            self.lock().present.entry(who.to_owned()).or_insert_with(full);
        }
    }

    /// A member has left. It gets no new port from now on, and cannot keep those that it has for longer than their time.
    pub(crate) fn dismiss(&self, who: &str) {
        self.lock().present.remove(who);
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
            let mut clients = state.live.values();
            clients.any(|client| client.source == source && client.username == username)
        };
        state.present.contains_key(who) && (is_timely || has_port())
    }

    /// Gives a client a port that was bound; `None` when it, or all together, have too many.
    pub(crate) fn take(&self, port: (u16, IpAddr), client: Client) -> Option<Port> {
        let mut state = self.lock();
        let who = client.who();
        let taken = state.live.values().filter(|other| other.who() == who).count();
        let most = if who.starts_with(GUEST) { PORTS_OF_GUEST_MAX } else { PORTS_OF_MEMBER_MAX };
        if taken >= most || state.live.len() >= PORTS_MAX {
            return None;
        }
        let known = state.present.get(who).map(Arc::clone);
        let allowance = known.unwrap_or_else(|| self.full_allowance());
        state.live.insert(port, client);
        drop(state);
        Some(Port { members: self.clone(), port, allowance })
    }

    /// Whether it relays from this port.
    pub(crate) fn is_live(&self, port: u16) -> bool {
        let first = (port, IpAddr::from([0, 0, 0, 0]));
        self.lock().live.range(first..).next().is_some_and(|((live, _), _)| *live == port)
    }

    fn full_allowance(&self) -> Arc<Mutex<RelayAllowance>> {
        let now = self.started_at.elapsed();
        let allowance = RelayAllowance::new(now, MESSAGES_PER_SECOND, BYTES_PER_SECOND);
        Arc::new(Mutex::new(allowance))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    fn who(&self) -> &str {
        self.username.split_once(':').map_or("", |(_, who)| who)
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
    /// Whether so many bytes more may pass, to or from the client.
    pub(crate) fn spend(&self, bytes: usize) -> bool {
        let now = self.members.started_at.elapsed();
        self.allowance.lock().unwrap_or_else(PoisonError::into_inner).spend(now, bytes)
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

/// Most ports at once.
const PORTS_MAX: usize = 4096;

/// Most ports of one member: for fifteen others, of three addresses, twice while connections are made anew; and more.
const PORTS_OF_MEMBER_MAX: usize = 128;

/// Most ports of one who only examines: for two ends of several addresses, twice.
const PORTS_OF_GUEST_MAX: usize = 16;

/// Datagrams a second that are relayed for one member, both ways together: what the relay by WebSocket allows each way.
const MESSAGES_PER_SECOND: u32 = 2 * RELAY_MESSAGES_PER_SECOND;

/// Bytes a second.
const BYTES_PER_SECOND: u32 = 2 * RELAY_BYTES_PER_SECOND;

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
        let live = members.take(port(1), client("999:a-0")).unwrap();
        assert!(is_good(&members, "999:a-0", here));
        assert!(!is_good(&members, "999:a-0", there) && !is_good(&members, "998:a-0", here));
        drop(live);
        assert!(!is_good(&members, "999:a-0", here));
        let _live = members.take(port(1), client("999:a-0")).unwrap();
        members.dismiss("a-0");
        for name in ["999:a-0", "2000:a-0"] {
            assert!(!is_good(&members, name, here), "{name}");
        }
        let guest = format!("1000:{GUEST}7");
        assert!(is_good(&members, &guest, here));
        let ended = format!("999:{GUEST}7");
        let _live = members.take(port(2), client(&ended)).unwrap();
        assert!(!is_good(&members, &ended, here), "a guest has no match that goes on");
    }

    #[test]
    fn so_many_ports_for_each_and_for_all_and_no_more() {
        let members = TurnMembers::new();
        let takes = |number: usize, username: &str| members.take(port(number), client(username));
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
    fn what_a_member_has_relayed_is_limited_over_all_of_its_ports_and_not_for_others() {
        let members = TurnMembers::new();
        members.admit("a-0");
        members.admit("a-1");
        let [one, two] = [1, 2].map(|it| members.take(port(it), client("1000:a-0")).unwrap());
        let other = members.take(port(3), client("1000:a-1")).unwrap();
        let passed = (0..10_000).filter(|_| one.spend(1000)).count();
        assert!((2000..4000).contains(&passed), "{passed}");
        assert!(!two.spend(BYTES_PER_SECOND as usize));
        assert!(other.spend(BYTES_PER_SECOND as usize));
    }
}
