//! The link that people pass on, parsed: `ws://127.0.0.1:8080/kitchen`.

use std::net::IpAddr;
use std::str::FromStr;

use rollback_signaling::RoomName;
use tokio_tungstenite::tungstenite::http::Uri;

use crate::error::LinkError;

/// The address of a room at a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoomLink {
    url: String,
    room: RoomName,
    is_loopback: bool,
}

impl RoomLink {
    /// The whole link.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The room at its end.
    pub(crate) const fn room(&self) -> &RoomName {
        &self.room
    }

    /// The link of the relay of its server.
    pub(crate) fn relay_url(&self) -> String {
        self.url_below("relay")
    }

    /// The link of what sends datagrams back, for those who try the way to the relay.
    pub(crate) fn echo_url(&self) -> String {
        self.url_below("echo")
    }

    fn url_below(&self, name: &str) -> String {
        // The path ends with the room; a question behind it stays behind.
        let (place, question) = match self.url.split_once('?') {
            Some((place, question)) => (place, format!("?{question}")),
            None => (self.url.as_str(), String::new()),
        };
        format!("{place}/{name}{question}")
    }

    /// Whether the server is on this computer.
    pub(crate) const fn is_loopback(&self) -> bool {
        self.is_loopback
    }
}

impl FromStr for RoomLink {
    type Err = LinkError;

    fn from_str(link: &str) -> Result<Self, LinkError> {
        let not_url = || LinkError::NotUrl { link: link.to_owned() };
        let uri: Uri = link.parse().map_err(|_| not_url())?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(not_url)?;
        match uri.scheme_str() {
            Some("ws" | "wss") => {}
            Some(scheme) => return Err(LinkError::Scheme { scheme: scheme.to_owned() }),
            None => return Err(not_url()),
        }
        let room = uri.path().rsplit('/').next().unwrap_or_default().parse()?;
        let address: Result<IpAddr, _> = host.trim_matches(['[', ']']).parse();
        let is_loopback = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
        Ok(Self { url: link.to_owned(), room, is_loopback })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(link: &str) -> Result<RoomLink, LinkError> {
        link.parse()
    }

    #[test]
    fn the_last_part_of_the_path_is_the_room() {
        assert_eq!(parse("ws://10.0.0.1:8080/kitchen").unwrap().room().as_str(), "kitchen");
        assert_eq!(parse("wss://play.example.org/lab/hall").unwrap().room().as_str(), "hall");
    }

    #[test]
    fn the_relay_is_below_the_room() {
        let relay = |link| parse(link).unwrap().relay_url();
        assert_eq!(relay("ws://10.0.0.1:8080/kitchen"), "ws://10.0.0.1:8080/kitchen/relay");
        assert_eq!(relay("wss://h/lab/hall?key=1"), "wss://h/lab/hall/relay?key=1");
        assert_eq!(parse("ws://h/hall").unwrap().echo_url(), "ws://h/hall/echo");
    }

    #[test]
    fn loopback_links_are_known() {
        for link in ["ws://127.0.0.1:1/a", "ws://[::1]:1/a", "ws://localhost/a"] {
            assert!(parse(link).unwrap().is_loopback(), "{link}");
        }
        assert!(!parse("ws://192.168.0.2/a").unwrap().is_loopback());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for link in ["", "kitchen", "ws:///kitchen", "127.0.0.1:8080/kitchen"] {
            assert!(matches!(parse(link), Err(LinkError::NotUrl { .. })), "{link:?}");
        }
        assert!(matches!(parse("http://h/kitchen"), Err(LinkError::Scheme { .. })));
        assert!(matches!(parse("ws://h/"), Err(LinkError::Room(_))));
        assert!(matches!(parse("ws://h/Kitchen"), Err(LinkError::Room(_))));
    }
}
