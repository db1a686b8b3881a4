//! Whether a certificate is refused. With `webrtc` 0.21.1 a handshake in which the certificate is not that of the description
//! stands still, as one does whose packets are lost: the reason is in its log, and in the alert that it sends to the other
//! side (RFC 5246 §7.2.2). So the alert is read here, on its way through a socket.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

use crate::stats::CertificateOwner;
use crate::stun::{attribute, header};

/// What the handshake of one connection says about certificates.
#[derive(Debug)]
pub(super) struct CertificateWatch {
    /// An alert came. It is answered with the same, once it was taken.
    has_alert: AtomicBool,
    refused: mpsc::Sender<CertificateOwner>,
}

impl CertificateWatch {
    pub(super) const fn new(refused: mpsc::Sender<CertificateOwner>) -> Self {
        Self { has_alert: AtomicBool::new(false), refused }
    }

    /// Only what this side sends is believed: anybody can send something to a socket.
    pub(super) fn note_sent(&self, datagram: &[u8]) {
        if is_refusal(datagram) {
            let whose = match self.has_alert.load(Ordering::Acquire) {
                true => CertificateOwner::Own,
                false => CertificateOwner::Peer,
            };
            // Those after the first one say nothing new.
            let _ = self.refused.try_send(whose);
        }
    }

    pub(super) fn note_received(&self, datagram: &[u8]) {
        if is_refusal(datagram) {
            self.has_alert.store(true, Ordering::Release);
        }
    }
}

/// Whether there is an alert because of a certificate among the records (RFC 6347 §4.1). It is not encrypted, in whatever epoch:
/// the client answers in that of the encryption that never comes. One that is encrypted is longer.
fn is_refusal(datagram: &[u8]) -> bool {
    let mut rest = without_turn(datagram).unwrap_or_default();
    while let Some([kind, .., high, low]) = rest.first_chunk::<RECORD_HEADER>() {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some(content) = rest.get(RECORD_HEADER..RECORD_HEADER + length) else { return false };
        if *kind == ALERT && matches!(content, [FATAL, NO_CERTIFICATE | BAD_CERTIFICATE]) {
            return true;
        }
        rest = rest.get(RECORD_HEADER + length..).unwrap_or_default();
    }
    false
}

/// What a datagram carries through a TURN server, or the datagram (RFC 8656 §10, §12.4).
fn without_turn(datagram: &[u8]) -> Option<&[u8]> {
    match datagram {
        [0x40..=0x7f, _, high, low, rest @ ..] => {
            rest.get(..usize::from(u16::from_be_bytes([*high, *low])))
        }
        [0x00, SEND_INDICATION | DATA_INDICATION, ..] => {
            header(datagram)?;
            attribute(datagram, DATA)
        }
        _ => Some(datagram),
    }
}

/// Type, version, epoch, number and length of a record.
const RECORD_HEADER: usize = 13;

/// Type of a record (RFC 5246 §6.2.1).
const ALERT: u8 = 21;

/// Level and descriptions of alerts (RFC 5246 §7.2): none was given, or it is another one than that of the description, or
/// whoever gives it does not have its key.
const FATAL: u8 = 2;
const NO_CERTIFICATE: u8 = 41;
const BAD_CERTIFICATE: u8 = 42;

/// Messages of TURN (RFC 8656 §17), as in their second byte, and the attribute in which they carry a datagram (§18).
const SEND_INDICATION: u8 = 0x16;
const DATA_INDICATION: u8 = 0x17;
const DATA: u16 = 0x0013;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stun::MAGIC_COOKIE;

    fn record(kind: u8, epoch: u8, content: &[u8]) -> Vec<u8> {
        let mut record = vec![kind, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 7, 0];
        record.push(u8::try_from(content.len()).unwrap());
        record.extend(content);
        record
    }

    fn alert(description: u8) -> Vec<u8> {
        record(ALERT, 0, &[FATAL, description])
    }

    /// What is told after these datagrams have passed: `true` for those that are sent.
    fn told(datagrams: &[(bool, Vec<u8>)]) -> Option<CertificateOwner> {
        let (sender, mut refusals) = mpsc::channel(1);
        let watch = CertificateWatch::new(sender);
        for (is_sent, datagram) in datagrams {
            match is_sent {
                true => watch.note_sent(datagram),
                false => watch.note_received(datagram),
            }
        }
        refusals.try_recv().ok()
    }

    #[test]
    fn an_alert_of_ones_own_says_that_the_peers_certificate_is_refused() {
        let theirs = Some(CertificateOwner::Peer);
        assert_eq!(told(&[(true, alert(42))]), theirs);
        assert_eq!(told(&[(true, alert(41))]), theirs);
        let handshake = record(22, 0, &[11; 200]);
        assert_eq!(told(&[(true, [handshake, alert(42)].concat())]), theirs, "records together");
    }

    #[test]
    fn an_alert_that_answers_one_says_that_the_own_certificate_is_refused() {
        let ours = Some(CertificateOwner::Own);
        assert_eq!(told(&[(false, alert(42)), (true, alert(42))]), ours);
        let late = record(ALERT, 1, &[FATAL, 42]);
        assert_eq!(told(&[(false, alert(42)), (true, late)]), ours);
        assert_eq!(told(&[(false, alert(42))]), None, "the connection has not taken it");
    }

    #[test]
    fn an_alert_is_seen_on_its_way_through_a_turn_server() {
        let alert = alert(42);
        let length = u8::try_from(alert.len()).unwrap();
        let channel = [&[0x40, 1, 0, length][..], &alert[..], &[0]].concat();
        assert_eq!(told(&[(true, channel.clone())]), Some(CertificateOwner::Peer));
        let mut message = vec![0, SEND_INDICATION, 0, 20 + length];
        message.extend(MAGIC_COOKIE);
        message.extend([9; 12]);
        message.extend([0, 0x12, 0, 8, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0x13, 0, length]);
        message.extend(&alert);
        message.push(0);
        assert_eq!(told(&[(true, message.clone())]), Some(CertificateOwner::Peer));
        message[1] = DATA_INDICATION;
        assert_eq!(told(&[(false, message), (true, channel)]), Some(CertificateOwner::Own));
    }

    #[test]
    fn nothing_else_is_a_refusal() {
        let others = [
            alert(0),
            alert(40),
            alert(50),
            record(ALERT, 1, &[0x9d; 26]),
            record(ALERT, 0, &[1, 42]),
            record(ALERT, 0, &[FATAL, 42, 0]),
            record(22, 0, &[FATAL, 42]),
            record(23, 1, &[ALERT; 40]),
        ];
        for other in others {
            assert_eq!(told(&[(true, other.clone())]), None, "{other:?}");
        }
    }

    #[test]
    fn any_bytes_may_pass() {
        let honest = [&[0x40, 1, 0, 15][..], &alert(42)].concat();
        for at in 0..honest.len() {
            for byte in [0, 1, 0x16, 0x40, 0x7f, 0xff] {
                let mut bytes = honest.clone();
                bytes[at] = byte;
                told(&[(false, bytes.clone()), (true, bytes[..at].to_vec()), (true, bytes)]);
            }
        }
    }
}
