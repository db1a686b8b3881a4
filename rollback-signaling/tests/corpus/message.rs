//! Bytes that may be a message of a client or of a server.

use std::fmt::Debug;

use rollback_signaling::{ClientMessage, MESSAGE_BYTES_MAX, MessageError, ServerMessage};

/// Parses bytes as both. What is a message is one again when it is written.
pub(crate) fn parse(bytes: &[u8]) {
    // A web socket hands out no other text.
    let Ok(text) = str::from_utf8(bytes) else { return };
    check(text, ClientMessage::from_json, ClientMessage::to_json);
    check(text, ServerMessage::from_json, ServerMessage::to_json);
}

fn check<M: Debug + PartialEq>(
    text: &str,
    parse: impl Fn(&str) -> Result<M, MessageError>,
    write: impl Fn(&M) -> Result<String, MessageError>,
) {
    let Ok(message) = parse(text) else { return };
    assert!(text.len() <= MESSAGE_BYTES_MAX, "{} bytes", text.len());
    // Written anew, a control character may take six bytes where it took two.
    if let Ok(written) = write(&message) {
        assert_eq!(parse(&written).ok().as_ref(), Some(&message), "{written}");
    }
}
