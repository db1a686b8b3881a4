//! A coordinator and a clock: a client's number is also that of its token and its process.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test binary uses another part of it, and ends where an expectation does"
)]

use std::time::Duration;

use rollback_server::{
    ClientId, Command, Coordinator, Effect, Entropy, GroupSize, Rooms, ServerConfig,
};
use rollback_signaling::{ErrorCode, Join, Member, PROTOCOL_VERSION, ServerMessage, Text, Token};

pub(crate) struct Bench {
    pub(crate) coordinator: Coordinator,
    pub(crate) now: Duration,
}

impl Bench {
    pub(crate) fn new(begins_with: u8, members: u8) -> Self {
        let size = GroupSize::try_from(members).unwrap().beginning_with(begins_with).unwrap();
        let coordinator = Coordinator::new(ServerConfig::new(Rooms::Any(size)));
        Self { coordinator, now: Duration::ZERO }
    }

    pub(crate) fn run(&mut self, command: Command) -> Vec<Effect> {
        self.coordinator.handle(self.now, command)
    }

    /// Connects and joins: a client's number is also that of its token, its process and the group that it founds.
    pub(crate) fn enter_with(&mut self, number: u8, join: Join) -> Vec<Effect> {
        let client = ClientId::new(number.into());
        let room = join.room.clone();
        assert_eq!(self.run(Command::Connected { client, room }), []);
        let (session_id, seed) = (number.into(), 0);
        let entropy = Entropy { token: token(number), session_id, seed };
        self.run(Command::Join { client, join: Box::new(join), entropy })
    }

    pub(crate) fn enter(&mut self, number: u8) -> Vec<Effect> {
        self.enter_with(number, join(number))
    }

    pub(crate) fn disconnect(&mut self, number: u8) -> Vec<Effect> {
        self.run(Command::Disconnected { client: ClientId::new(number.into()) })
    }

    pub(crate) fn leave(&mut self, number: u8) -> Vec<Effect> {
        self.run(Command::Leave { client: ClientId::new(number.into()) })
    }
}

pub(crate) fn token(number: u8) -> Token {
    Token::from_bytes([number; 16])
}

pub(crate) fn join(number: u8) -> Join {
    Join {
        protocol_version: PROTOCOL_VERSION,
        room: "kitchen".parse().unwrap(),
        token: None,
        name: None,
        incarnation: number.into(),
        settings: Text::default(),
        watch: false,
    }
}

pub(crate) fn sent_to(effects: &[Effect], number: u8) -> Vec<ServerMessage> {
    let to_client = |effect: &Effect| match effect {
        Effect::Send { client, message } if *client == ClientId::new(number.into()) => {
            Some(message.clone())
        }
        _ => None,
    };
    effects.iter().filter_map(to_client).collect()
}

/// The slot of a client that has just entered.
pub(crate) fn slot(effects: &[Effect], number: u8) -> u8 {
    match sent_to(effects, number).first() {
        Some(ServerMessage::Joined { slot, .. }) => *slot,
        other => panic!("expected joined, got {other:?}"),
    }
}

/// What a client hears of its complete group: the session, the slots with their lives, and from which slot on nobody has
/// come yet.
#[derive(PartialEq, Debug)]
pub(crate) struct Begun(pub(crate) u64, pub(crate) Vec<(u8, u8)>, pub(crate) u8);

pub(crate) fn ready(effects: &[Effect], number: u8) -> Option<Begun> {
    sent_to(effects, number).into_iter().find_map(|message| match message {
        ServerMessage::Ready { session_id, members, reserved_from, .. } => {
            let lives = |member: &Member| (member.slot, member.life);
            Some(Begun(session_id, members.iter().map(lives).collect(), reserved_from))
        }
        _ => None,
    })
}

/// Why a client is sent away.
pub(crate) fn refusal(effects: &[Effect], number: u8) -> Option<ErrorCode> {
    sent_to(effects, number).into_iter().find_map(|message| match message {
        ServerMessage::Error { code, .. } => Some(code),
        _ => None,
    })
}
