//! The one task that owns the coordinator: requests of all connections come in over one bounded
//! channel, and each connection has a bounded outbox.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rollback_signaling::{ClientMessage, RelayJoin, RoomName, ServerMessage, Token};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::clock::unix_secs;
use crate::command::{ClientId, Command, Effect, Entropy};
use crate::config::ServerConfig;
use crate::coordinator::{Coordinator, Status};
use crate::offers::Offers;
use crate::relay::{Line, Refusal, Relay};
use crate::state_file::StateFile;

/// What a connection, or a reader of the health page, wants of the app.
#[derive(Debug)]
pub(crate) enum Request {
    Connected {
        room: RoomName,
        /// The address of this computer that it reached.
        reached: Option<IpAddr>,
        outbox: mpsc::Sender<ServerMessage>,
        reply: oneshot::Sender<ClientId>,
    },
    Said {
        client: ClientId,
        message: ClientMessage,
    },
    SaidNonsense {
        client: ClientId,
        error: String,
    },
    Disconnected {
        client: ClientId,
    },
    /// A socket is to be a member's relay.
    OpenRelay {
        join: RelayJoin,
        reply: oneshot::Sender<Result<Line, Refusal>>,
    },
    Status {
        reply: oneshot::Sender<Status>,
    },
}

/// The way to one client.
struct Outbox {
    messages: mpsc::Sender<ServerMessage>,
    reached: Option<IpAddr>,
}

/// The task's state.
pub(crate) struct App {
    coordinator: Coordinator,
    state_file: Option<StateFile>,
    relay: Option<Arc<Relay>>,
    offers: Offers,
    outboxes: BTreeMap<ClientId, Outbox>,
    clients_seen: u64,
    started_at: Instant,
}

impl App {
    /// # Errors
    /// When the file of the groups cannot be read or written, or holds something else.
    pub(crate) fn new(
        config: ServerConfig,
        relay: Option<Arc<Relay>>,
        offers: Offers,
    ) -> io::Result<Self> {
        let (state_file, coordinator) = match config.state_file.clone() {
            None => (None, Coordinator::new(config)),
            Some(path) => {
                let (file, saved) = StateFile::open(&path)?;
                let coordinator = Coordinator::restored(config, saved, Duration::ZERO);
                let coordinator = coordinator.map_err(|error| file.refused(error))?;
                (Some(file), coordinator)
            }
        };
        Ok(Self {
            coordinator,
            state_file,
            relay,
            offers,
            outboxes: BTreeMap::new(),
            clients_seen: 0,
            started_at: Instant::now(),
        })
    }

    /// Serves requests until `shutdown`, then says goodbye to every client.
    pub(crate) async fn serve(
        mut self,
        mut requests: mpsc::Receiver<Request>,
        shutdown: CancellationToken,
    ) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = tick.tick() => self.handle(Command::Tick),
                request = requests.recv() => match request {
                    Some(request) => self.answer(request),
                    None => break,
                },
            }
            if self.state_file.as_ref().is_some_and(StateFile::is_due) {
                self.save_groups();
            }
        }
        self.handle(Command::ShutDown);
        self.save_groups();
        if let Some(relay) = &self.relay {
            relay.end_all();
        }
        self.offers.close().await;
    }

    fn save_groups(&mut self) {
        let Some(file) = &mut self.state_file else { return };
        let Some(groups) = self.coordinator.changed_groups() else { return };
        if file.write(&groups) {
            self.coordinator.note_saved();
        }
    }

    fn answer(&mut self, request: Request) {
        match request {
            Request::Connected { room, reached, outbox, reply } => {
                let client = ClientId::new(self.clients_seen);
                self.clients_seen += 1;
                tracing::debug!(%client, %room, "connected");
                if reply.send(client).is_ok() {
                    self.outboxes.insert(client, Outbox { messages: outbox, reached });
                    self.handle(Command::Connected { client, room });
                }
            }
            Request::Said { client, message } => self.hear(client, message),
            Request::SaidNonsense { client, error } => {
                self.handle(Command::BadMessage { client, error });
            }
            Request::Disconnected { client } => {
                tracing::debug!(%client, "disconnected");
                self.outboxes.remove(&client);
                self.handle(Command::Disconnected { client });
            }
            Request::OpenRelay { join, reply } => {
                let Some(relay) = &self.relay else { return };
                // Opened here, so that no slot ends between the answer and the opening.
                let seat = self.coordinator.relay_seat(&join);
                // One that has gone away meanwhile drops its line.
                let _ = reply.send(seat.and_then(|(seat, expected)| relay.open(seat, expected)));
            }
            Request::Status { reply } => {
                // A reader that has gone away meanwhile needs no answer.
                let _ = reply.send(self.coordinator.status());
            }
        }
    }

    fn hear(&mut self, client: ClientId, message: ClientMessage) {
        match Command::from_message(client, message, unix_secs(), draw_entropy) {
            Ok(command) => self.handle(command),
            Err(error) => {
                tracing::error!(%error, "the system gives no random numbers");
                self.outboxes.remove(&client);
                self.handle(Command::Disconnected { client });
            }
        }
    }

    /// The client is given up when it does not read.
    fn send(&mut self, client: ClientId, message: ServerMessage) -> Option<Command> {
        let outbox = self.outboxes.get(&client)?;
        match &message {
            ServerMessage::Ready { .. } => tracing::debug!(%client, "its group is complete"),
            // What a client said may be part of it, so it is quoted.
            ServerMessage::Error { code, message } => {
                tracing::debug!(%client, ?code, ?message, "refused");
            }
            _ => {}
        }
        outbox.messages.try_send(message).err()?;
        tracing::info!(%client, "dropped: it does not read what it is sent");
        self.outboxes.remove(&client);
        Some(Command::Disconnected { client })
    }

    fn handle(&mut self, command: Command) {
        let mut commands = vec![command];
        // A client whose outbox is full is dropped, which makes effects for others in turn; each
        // drop takes one outbox away, so this ends.
        while let Some(command) = commands.pop() {
            let effects = self.coordinator.handle(self.started_at.elapsed(), command);
            if let Some(relay) = &self.relay {
                self.coordinator.vacated().for_each(|seat| relay.end(seat));
            }
            for effect in effects {
                match effect {
                    Effect::Send { client, message } => {
                        commands.extend(self.send(client, message));
                    }
                    Effect::OfferIceServers { client, who, valid } => {
                        let reached = self.outboxes.get(&client).and_then(|outbox| outbox.reached);
                        if let Some(message) = self.offers.message(&who, valid, reached) {
                            commands.extend(self.send(client, message));
                        }
                    }
                    Effect::EndIceServers { who } => self.offers.dismiss(&who),
                    Effect::Close { client } => {
                        self.outboxes.remove(&client);
                    }
                }
            }
        }
    }
}

fn draw_entropy() -> Result<Entropy, getrandom::Error> {
    let mut token = [0; 16];
    getrandom::fill(&mut token)?;
    Ok(Entropy {
        token: Token::from_bytes(token),
        session_id: getrandom::u64()?,
        seed: getrandom::u64()?,
    })
}

/// How often time passes for the coordinator, whose limits are all of seconds or more.
const TICK: Duration = Duration::from_secs(1);
