//! As which addresses this computer is seen from outside, and whether its NAT lets others reach it there (RFC 8489, RFC 4787).

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{UdpSocket, lookup_host};
use tokio::time::{Instant, timeout_at};

use super::finding::{ADDRESS, Finding, IPV6, Outcome, Part};
use crate::ice_servers::CheckedServer;
use crate::ice_url::{IceUrlKind, TurnTransport};
use crate::stun;

/// Asks each server that is reached by UDP, all from one socket, by IPv4.
pub(super) async fn address(servers: &[CheckedServer], from: Ipv4Addr) -> Finding {
    let asked = asked(servers);
    let finding = |outcome, text: String| Finding::new(Part::Way, ADDRESS, outcome, text);
    if asked.is_empty() {
        let text = "no STUN server is known: direct ways only between computers of one network";
        return finding(Outcome::Note, text.to_owned());
    }
    let (places, names) = (places(&asked, SocketAddr::is_ipv4).await, names(&asked));
    if places.is_empty() {
        return finding(Outcome::Bad, format!("there is no address of {names}"));
    }
    match ask(&places, from.into()).await {
        Err(error) => finding(Outcome::Bad, format!("no UDP socket: {error}")),
        Ok(answers) if answers.is_empty() => {
            let text =
                format!("UDP to {names} is not answered within {} s", ANSWER_TIMEOUT.as_secs());
            finding(Outcome::Bad, text)
        }
        Ok(answers) => {
            let own = own_addresses(&answers).await;
            let (outcome, text) = describe(&answers, &own);
            finding(outcome, text)
        }
    }
}

/// The same by IPv6, which goes through no NAT as a rule. It is another way out, and none that is needed.
pub(super) async fn ipv6(servers: &[CheckedServer], own: Option<Ipv6Addr>) -> Finding {
    let finding = |outcome, text: String| Finding::new(Part::Way, IPV6, outcome, text);
    let Some(own) = own else {
        let text = "no address that leads to the Internet: direct ways by IPv4 only";
        return finding(Outcome::Note, text.to_owned());
    };
    let shown = format!("{own} ({})", kind_of(own.into()));
    let asked = asked(servers);
    let places = places(&asked, SocketAddr::is_ipv6).await;
    if places.is_empty() {
        let text = format!("{shown}; no STUN server is known there to say whether it leads out");
        return finding(Outcome::Note, text);
    }
    match ask(&places, own.into()).await {
        Ok(answers) if !answers.is_empty() => {
            let (outcome, text) = describe(&answers, &[own.into()].into());
            finding(outcome, text)
        }
        _ => {
            let (names, seconds) = (names(&asked), ANSWER_TIMEOUT.as_secs());
            let text = format!("{shown}; UDP to {names} is not answered within {seconds} s");
            finding(Outcome::Note, text)
        }
    }
}

/// Those that answer by UDP as which address they see one.
fn asked(servers: &[CheckedServer]) -> Vec<&CheckedServer> {
    let is_udp = |kind| matches!(kind, IceUrlKind::Stun | IceUrlKind::Turn(TurnTransport::Udp));
    servers.iter().filter(|server| is_udp(server.url.kind)).collect()
}

/// An address of each that is of this family.
async fn places(
    asked: &[&CheckedServer],
    is_of_family: fn(&SocketAddr) -> bool,
) -> BTreeSet<SocketAddr> {
    let end = Instant::now() + ANSWER_TIMEOUT;
    let mut places = BTreeSet::new();
    for server in asked {
        let found = timeout_at(end, lookup_host((server.url.host.as_str(), server.url.port)));
        if let Ok(Ok(found)) = found.await {
            places.extend({ found }.filter(is_of_family).take(1));
        }
    }
    places
}

fn names(asked: &[&CheckedServer]) -> String {
    let name = |server: &&CheckedServer| format!("{}:{}", server.url.host, server.url.port);
    let names: BTreeSet<String> = asked.iter().map(name).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

/// The servers that answered, and as which address each saw this computer.
async fn ask(
    places: &BTreeSet<SocketAddr>,
    from: IpAddr,
) -> io::Result<Vec<(SocketAddr, SocketAddr)>> {
    let socket = UdpSocket::bind((from, 0)).await?;
    let mut id = [0; 12];
    getrandom::fill(&mut id).map_err(io::Error::other)?;
    let started = Instant::now();
    let mut answers: Vec<(SocketAddr, SocketAddr)> = Vec::new();
    let mut buffer = [0; DATAGRAM_BYTES_MAX];
    for repeated_at in REPEATED_AT {
        for place in places {
            if answers.iter().all(|(from, _)| from != place) {
                // Whatever keeps it from going out, no answer says the same.
                let _ = socket.send_to(&binding_request(id), place).await;
            }
        }
        while answers.len() < places.len() {
            let received = timeout_at(started + repeated_at, socket.recv_from(&mut buffer));
            let Ok(received) = received.await else { break };
            // An error of a former datagram that nobody took.
            let Ok((bytes, from)) = received else { continue };
            let is_new = places.contains(&from) && answers.iter().all(|(known, _)| *known != from);
            let mapped = buffer.get(..bytes).and_then(|answer| mapped_address(answer, id));
            answers.extend(mapped.filter(|_| is_new).map(|mapped| (from, mapped)));
        }
    }
    Ok(answers)
}

/// The addresses of this computer itself from which it reaches these.
async fn own_addresses(answers: &[(SocketAddr, SocketAddr)]) -> BTreeSet<IpAddr> {
    let mut own = BTreeSet::new();
    for (server, _) in answers {
        let Ok(socket) = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await else { continue };
        if socket.connect(server).await.is_ok()
            && let Ok(address) = socket.local_addr()
        {
            own.insert(address.ip());
        }
    }
    own
}

fn describe(answers: &[(SocketAddr, SocketAddr)], own: &BTreeSet<IpAddr>) -> (Outcome, String) {
    let mapped: BTreeSet<SocketAddr> = answers.iter().map(|(_, mapped)| *mapped).collect();
    let hosts: BTreeSet<IpAddr> = mapped.iter().map(SocketAddr::ip).collect();
    let shown: Vec<String> =
        hosts.iter().map(|host| format!("{host} ({})", kind_of(*host))).collect();
    let seen = format!("seen as {}", shown.join(" and "));
    if hosts.iter().all(|host| own.contains(host)) {
        return (Outcome::Good, format!("{seen}: no NAT in between"));
    }
    let servers: BTreeSet<IpAddr> = answers.iter().map(|(server, _)| server.ip()).collect();
    let (outcome, nat) = match (servers.len(), mapped.len()) {
        (1, _) => (Outcome::Good, "behind a NAT; a second STUN server would tell of which kind"),
        (_, 1) => {
            (Outcome::Good, "behind a NAT that shows one address to all: direct ways mostly work")
        }
        _ => (
            Outcome::Note,
            "behind a NAT that shows another address to each (symmetric): direct ways to others \
             behind a NAT mostly fail",
        ),
    };
    (outcome, format!("{seen}, {nat}"))
}

/// Whether it is an address of the whole internet, not of one computer or of some networks only.
pub(super) fn is_public(address: IpAddr) -> bool {
    kind_of(address) == PUBLIC
}

fn kind_of(address: IpAddr) -> &'static str {
    match address.to_canonical() {
        address if address.is_loopback() => "this computer",
        IpAddr::V4(address) if address.is_private() => "private",
        IpAddr::V4(address) if address.is_link_local() => "of one link",
        // RFC 6598.
        IpAddr::V4(address) if matches!(address.octets(), [100, 64..=127, ..]) => {
            "shared by a provider"
        }
        IpAddr::V6(address) if address.is_unique_local() => "private",
        IpAddr::V6(address) if address.is_unicast_link_local() => "of one link",
        _ => PUBLIC,
    }
}

fn binding_request(id: [u8; 12]) -> Vec<u8> {
    [[0x00, BINDING, 0, 0].as_slice(), &stun::MAGIC_COOKIE, &id].concat()
}

/// The XOR-MAPPED-ADDRESS of the answer to a request, which may be any bytes (RFC 8489 §14.2).
fn mapped_address(answer: &[u8], id: [u8; 12]) -> Option<SocketAddr> {
    let (class, method, answered) = stun::header(answer)?;
    if (class, method, answered) != (SUCCESS, BINDING, id) {
        return None;
    }
    stun::xor_address(answer, XOR_MAPPED_ADDRESS)
}

const PUBLIC: &str = "public";

/// RFC 8489 §5, §18.2 and §18.3.
const BINDING: u8 = 0x01;
const SUCCESS: u8 = 0x01;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;

/// Until when an answer to the first, second and third question is waited for.
const REPEATED_AT: [Duration; 3] =
    [Duration::from_millis(400), Duration::from_millis(1000), ANSWER_TIMEOUT];

/// How long servers may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest answer that is read.
const DATAGRAM_BYTES_MAX: usize = 1500;

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5769 §2.2: 192.0.2.1, port 32853.
    const ANSWER: &[u8] =
        b"\x01\x01\x00\x3c\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x0b\x74\x65\x73\x74\x20\x76\x65\x63\x74\x6f\x72\x20\
        \x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43";
    /// RFC 5769 §2.3: the same port of an IPv6 address.
    const ANSWER_BY_IPV6: &[u8] =
        b"\x01\x01\x00\x48\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x0b\x74\x65\x73\x74\x20\x76\x65\x63\x74\x6f\x72\x20\
        \x00\x20\x00\x14\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9";
    const ID: [u8; 12] = *b"\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae";

    #[test]
    fn the_example_of_the_standard_is_understood_and_no_bytes_do_harm() {
        assert_eq!(mapped_address(ANSWER, ID), Some("192.0.2.1:32853".parse().unwrap()));
        let ipv6 = "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap();
        assert_eq!(mapped_address(ANSWER_BY_IPV6, ID), Some(ipv6));
        for answer in [ANSWER, ANSWER_BY_IPV6] {
            assert_eq!(mapped_address(answer, [0; 12]), None);
            for at in 0..answer.len() {
                assert_eq!(mapped_address(&answer[..at], ID), None);
                for byte in 0..=u8::MAX {
                    let mut bytes = answer.to_vec();
                    bytes[at] = byte;
                    let _ = mapped_address(&bytes, ID);
                }
            }
        }
    }

    fn described(answers: &[(&str, &str)], own: &str) -> (Outcome, String) {
        let parse =
            |(server, mapped): &(&str, &str)| (server.parse().unwrap(), mapped.parse().unwrap());
        let answers: Vec<_> = answers.iter().map(parse).collect();
        describe(&answers, &[own.parse().unwrap()].into())
    }

    #[test]
    fn a_nat_is_told_by_what_two_servers_see() {
        let (one, other) = ("192.0.2.1:3478", "192.0.2.2:3478");
        let home = "192.168.1.4";
        let same = described(&[(one, "198.51.100.7:4000"), (other, "198.51.100.7:4000")], home);
        assert!(same.1.contains("198.51.100.7 (public)") && same.1.contains("one address to all"));
        let (outcome, ports) =
            described(&[(one, "198.51.100.7:4000"), (other, "198.51.100.7:4001")], home);
        assert_eq!(outcome, Outcome::Note);
        assert!(ports.contains("symmetric"), "{ports}");
        let single = described(&[(one, "100.64.0.9:1")], home);
        assert!(single.1.contains("shared by a provider") && single.1.contains("second STUN"));
        let none = described(&[(one, "198.51.100.7:4000")], "198.51.100.7");
        assert!(none.1.contains("no NAT"), "{none:?}");
        for (outcome, _) in [same, single, none] {
            assert_eq!(outcome, Outcome::Good);
        }
    }

    #[test]
    fn addresses_of_one_network_are_not_public() {
        let local = ["127.0.0.1", "10.1.2.3", "192.168.1.4", "169.254.1.1", "100.64.0.9", "::1"];
        for address in local.into_iter().chain(["fd00::1", "fe80::1", "::ffff:10.1.2.3"]) {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in ["198.51.100.7", "100.128.0.1", "2001:db8::1"] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }
}
