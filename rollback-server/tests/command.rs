//! The command as an operator runs it: what it says, and how it ends.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test ends where its expectation does")]

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use futures_util::{SinkExt, StreamExt};
use rollback_signaling::{ClientMessage, ErrorCode, Join, PROTOCOL_VERSION, ServerMessage, Text};
use rustix::process::{Pid, Signal, kill_process};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollback-server"));
    command.args(arguments).env("RUST_LOG", "rollback_server=debug").stderr(Stdio::piped());
    command
}

/// Reads what the server logs until a line says `what`, and answers that line.
fn read_until(log: &mut impl BufRead, what: &str) -> String {
    let mut line = String::new();
    while !line.contains(what) {
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "expected a line with {what:?}");
    }
    line
}

#[tokio::test]
async fn whoever_is_connected_is_told_when_a_service_manager_stops_it() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server: Child =
            command(&["--listen", "127.0.0.1:0", "--room", "kitchen"]).spawn().unwrap();
        let mut log = BufReader::new(server.stderr.take().unwrap());
        let line = read_until(&mut log, "ws://");
        let link = line.split_whitespace().find(|word| word.starts_with("ws://")).unwrap();

        let (mut socket, _) = connect_async(link).await.unwrap();
        let join = Join {
            protocol_version: PROTOCOL_VERSION,
            room: "kitchen".parse().unwrap(),
            token: None,
            name: None,
            incarnation: 1,
            settings: Text::default(),
            watch: false,
        };
        let join = ClientMessage::Join(join).to_json().unwrap();
        socket.send(Message::Text(join.into())).await.unwrap();
        read_until(&mut log, "connected");
        kill_process(Pid::from_child(&server), signal).unwrap();

        let mut told = None;
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Text(text) = message
                && let ServerMessage::Error { code, .. } = ServerMessage::from_json(&text).unwrap()
            {
                told = Some(code);
            }
        }
        assert_eq!(told, Some(ErrorCode::ShuttingDown));
        assert!(server.wait().unwrap().success());
        let mut rest = String::new();
        log.read_to_string(&mut rest).unwrap();
        assert!(rest.contains("tells everyone and stops"), "{rest}");
    }
}

#[test]
fn an_address_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = command(&["--listen", &address]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("cannot listen on {address}: ")), "{said}");
}
