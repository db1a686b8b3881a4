//! Which way datagrams to one other member take: WebRTC, or the relay of the server. A pure state
//! machine; it knows no socket, clock or server.
//!
//! WebRTC is better, and the relay is there when it is not. So the relay is taken at once when the
//! connection falls silent, and at the start when it takes long; and WebRTC is taken again only when it
//! has been well for a while, longer after each fall, so that a bad path does not make datagrams jump
//! to and fro. That a connection is well is shown by a frame that came back through its channels: ICE
//! alone does not tell, because SCTP resumes later than ICE does (rule R5).

use std::collections::VecDeque;
use std::time::Duration;

use rollback_core::Timestamp;

/// A way to another member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The peer connection: direct or through TURN.
    WebRtc,
    /// The relay of the server.
    Server,
}

/// What has to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RouteAction {
    /// Datagrams take this way from now on, or none.
    Choose(Option<Way>),
    /// Send this number through the channels of the peer connection, to get it back.
    Probe(u64),
    /// Let the other know whether it is heard over WebRTC.
    Hear(bool),
}

/// The ways to one other member.
#[derive(Debug)]
pub(crate) struct Route {
    webrtc: WebRtc,
    has_server: bool,
    /// Whether the other hears this side over WebRTC, as far as it has said.
    is_heard: bool,
    chosen: Option<Way>,
    /// Until then WebRTC may be the first.
    waits_until: Timestamp,
    /// When WebRTC was chosen last.
    risen_at: Timestamp,
    /// How often WebRTC was left for the relay of late.
    falls: u32,
    probes: u64,
    is_over: bool,
    actions: VecDeque<RouteAction>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WebRtc {
    /// There is no open connection.
    Down,
    /// There is one, and it was shown to work at this time, if it was.
    Up { proved_at: Option<Timestamp> },
    /// There is one, but nothing comes.
    Silent,
}

impl Route {
    /// No way yet.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            webrtc: WebRtc::Down,
            has_server: false,
            is_heard: true,
            chosen: None,
            waits_until: now.plus(FIRST_PATIENCE),
            risen_at: now,
            falls: 0,
            probes: 0,
            is_over: false,
            actions: VecDeque::new(),
        }
    }

    /// What has to be done next.
    pub(crate) fn poll_action(&mut self) -> Option<RouteAction> {
        self.actions.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub(crate) fn next_timeout(&self) -> Option<Timestamp> {
        match self.chosen {
            None => (self.has_server && !self.is_over).then_some(self.waits_until),
            Some(Way::Server) => self.rise_at(),
            Some(Way::WebRtc) => None,
        }
    }

    /// The time of [`next_timeout`](Self::next_timeout) has come, or any other.
    pub(crate) fn handle_timeout(&mut self, now: Timestamp) {
        self.decide(now);
    }

    /// Whether the other is spoken with no more.
    pub(crate) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether datagrams take a way on which the other is heard, and hears.
    pub(crate) const fn works(&self) -> bool {
        match self.chosen {
            Some(Way::Server) => true,
            Some(Way::WebRtc) => matches!(self.webrtc, WebRtc::Up { .. }) && self.is_heard,
            None => false,
        }
    }

    /// A new connection is open, and its channels with it.
    pub(crate) fn handle_opened(&mut self, now: Timestamp) {
        self.webrtc = WebRtc::Up { proved_at: Some(now) };
        self.is_heard = true;
        self.actions.push_back(RouteAction::Hear(true));
        self.decide(now);
    }

    /// Nothing comes over the connection.
    pub(crate) fn handle_silence(&mut self, now: Timestamp) {
        if self.webrtc != WebRtc::Down {
            self.webrtc = WebRtc::Silent;
            self.actions.push_back(RouteAction::Hear(false));
            self.decide(now);
        }
    }

    /// Something comes again.
    pub(crate) fn handle_resumed(&mut self, now: Timestamp) {
        if self.webrtc == WebRtc::Silent {
            self.webrtc = WebRtc::Up { proved_at: None };
            self.probes += 1;
            self.actions.push_back(RouteAction::Probe(self.probes));
            self.actions.push_back(RouteAction::Hear(true));
            self.decide(now);
        }
    }

    /// A probe came back.
    pub(crate) fn handle_echo(&mut self, now: Timestamp, number: u64) {
        if let WebRtc::Up { proved_at } = &mut self.webrtc
            && number == self.probes
        {
            proved_at.get_or_insert(now);
            self.decide(now);
        }
    }

    /// There is no open connection any more.
    pub(crate) fn handle_closed(&mut self, now: Timestamp) {
        self.webrtc = WebRtc::Down;
        self.decide(now);
    }

    /// Whether both sides have a relay socket.
    pub(crate) fn handle_server(&mut self, now: Timestamp, is_there: bool) {
        self.has_server = is_there;
        // What the other said before is of no use when it cannot say otherwise.
        self.is_heard = true;
        self.decide(now);
    }

    /// The other says whether it hears this side over WebRTC.
    pub(crate) fn handle_heard(&mut self, now: Timestamp, is_heard: bool) {
        self.is_heard = is_heard;
        self.decide(now);
    }

    /// The other is a new process now, which has no connection and has fallen never.
    pub(crate) fn handle_renewed(&mut self, now: Timestamp) {
        self.webrtc = WebRtc::Down;
        self.is_heard = true;
        self.is_over = false;
        self.falls = 0;
        self.choose(now, None);
        self.waits_until = now.plus(FIRST_PATIENCE);
    }

    /// The other left for good, or is shut out: only another process of it is spoken with again.
    pub(crate) fn handle_left(&mut self, now: Timestamp) {
        self.is_over = true;
        self.decide(now);
    }

    fn decide(&mut self, now: Timestamp) {
        let is_well = matches!(self.webrtc, WebRtc::Up { .. }) && self.is_heard;
        let webrtc = (self.webrtc != WebRtc::Down).then_some(Way::WebRtc);
        let wanted = match self.chosen {
            _ if self.is_over => None,
            None if is_well => Some(Way::WebRtc),
            None if self.has_server && now >= self.waits_until => Some(Way::Server),
            None => webrtc,
            Some(Way::WebRtc) if is_well => Some(Way::WebRtc),
            Some(Way::Server) if self.has_server => match self.rise_at() {
                Some(at) if now >= at => Some(Way::WebRtc),
                _ => Some(Way::Server),
            },
            Some(Way::WebRtc) if self.has_server => {
                self.note_fall(now);
                Some(Way::Server)
            }
            // Nothing better than a connection that may recover.
            Some(_) => webrtc,
        };
        self.choose(now, wanted);
    }

    fn choose(&mut self, now: Timestamp, wanted: Option<Way>) {
        if wanted == self.chosen {
            return;
        }
        if wanted == Some(Way::WebRtc) {
            self.risen_at = now;
        }
        self.chosen = wanted;
        self.actions.push_back(RouteAction::Choose(wanted));
    }

    fn note_fall(&mut self, now: Timestamp) {
        let was_steady = now.since(self.risen_at) >= FORGIVEN_AFTER;
        self.falls = if was_steady { 1 } else { self.falls.saturating_add(1) };
    }

    /// When WebRTC may be taken again, if it stays well.
    fn rise_at(&self) -> Option<Timestamp> {
        match self.webrtc {
            WebRtc::Up { proved_at: Some(at) } if self.is_heard => {
                let hold = match self.falls {
                    0 => Duration::ZERO,
                    falls => {
                        HOLD_FIRST.saturating_mul(2u32.saturating_pow(falls - 1)).min(HOLD_MAX)
                    }
                };
                Some(at.plus(hold))
            }
            _ => None,
        }
    }
}

/// How long the first connection may take before play begins over the relay. On a good line WebRTC is there sooner; with 80 ms
/// of round trip it takes more than a second, and the relay a third of that. WebRTC is taken once it opens.
const FIRST_PATIENCE: Duration = Duration::from_millis(300);

/// How long WebRTC must be well after its first fall; it doubles with each further one.
const HOLD_FIRST: Duration = Duration::from_secs(2);

/// The longest time it must be well.
const HOLD_MAX: Duration = Duration::from_secs(60);

/// When it was in use for so long, earlier falls do not count.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_micros(1000 * millis)
    }

    /// The choices since the last call.
    fn choices(route: &mut Route) -> Vec<Option<Way>> {
        let actions = std::iter::from_fn(|| route.poll_action());
        let choice = |action| match action {
            RouteAction::Choose(way) => Some(way),
            _ => None,
        };
        actions.filter_map(choice).collect()
    }

    const WEBRTC: Option<Way> = Some(Way::WebRtc);
    const SERVER: Option<Way> = Some(Way::Server);

    /// On WebRTC since 100 ms, the relay at hand.
    fn playing() -> Route {
        let mut route = Route::new(at(0));
        route.handle_server(at(50), true);
        route.handle_opened(at(100));
        assert_eq!(choices(&mut route), [WEBRTC]);
        route
    }

    /// The connection resumes and is shown to work.
    fn recover(route: &mut Route, now: Timestamp) {
        route.handle_resumed(now);
        route.handle_echo(now, route.probes);
    }

    #[test]
    fn a_connection_that_opens_soon_is_taken_and_the_relay_is_not() {
        let mut route = playing();
        assert_eq!(route.next_timeout(), None);
        route.handle_timeout(at(60_000));
        assert_eq!(choices(&mut route), []);
    }

    #[test]
    fn at_the_start_the_relay_waits_a_moment_for_webrtc_which_is_taken_once_it_opens() {
        let mut route = Route::new(at(0));
        route.handle_server(at(50), true);
        route.handle_timeout(at(299));
        assert_eq!(choices(&mut route), []);
        assert_eq!(route.next_timeout(), Some(at(300)));
        route.handle_timeout(at(300));
        assert_eq!(choices(&mut route), [SERVER]);
        route.handle_opened(at(3000));
        assert_eq!(choices(&mut route), [WEBRTC]);
        let mut late = Route::new(at(0));
        late.handle_server(at(5000), true);
        assert_eq!(choices(&mut late), [SERVER]);
    }

    #[test]
    fn silence_moves_to_the_relay_at_once() {
        let mut route = playing();
        route.handle_silence(at(5000));
        assert_eq!(choices(&mut route), [SERVER]);
        route.handle_closed(at(8000));
        route.handle_timeout(at(600_000));
        assert_eq!(choices(&mut route), []);
    }

    #[test]
    fn webrtc_is_taken_again_when_it_was_well_for_a_while() {
        let mut route = playing();
        route.handle_silence(at(5000));
        recover(&mut route, at(6000));
        assert_eq!(route.next_timeout(), Some(at(8000)));
        route.handle_timeout(at(7999));
        assert_eq!(choices(&mut route), [SERVER]);
        route.handle_timeout(at(8000));
        assert_eq!(choices(&mut route), [WEBRTC]);
    }

    #[test]
    fn ice_alone_does_not_show_that_a_connection_works() {
        let mut route = playing();
        route.handle_silence(at(5000));
        assert_eq!(choices(&mut route), [SERVER]);
        route.handle_resumed(at(6000));
        let actions: Vec<_> = std::iter::from_fn(|| route.poll_action()).collect();
        assert_eq!(actions, [RouteAction::Probe(1), RouteAction::Hear(true)]);
        assert_eq!(route.next_timeout(), None);
        route.handle_echo(at(9000), 0);
        route.handle_timeout(at(60_000));
        assert_eq!(choices(&mut route), [], "the echo of another probe");
        route.handle_echo(at(61_000), 1);
        route.handle_echo(at(62_500), 1);
        route.handle_timeout(at(63_000));
        assert_eq!(choices(&mut route), [WEBRTC]);
    }

    #[test]
    fn each_fall_makes_the_next_return_slower_up_to_a_limit_and_long_peace_is_forgiven() {
        let mut route = playing();
        let mut now = 5000;
        for hold in [2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000] {
            route.handle_silence(at(now));
            recover(&mut route, at(now + 500));
            assert_eq!(choices(&mut route), [SERVER]);
            route.handle_timeout(at(now + 500 + hold - 1));
            assert_eq!(choices(&mut route), [], "{hold}");
            route.handle_timeout(at(now + 500 + hold));
            assert_eq!(choices(&mut route), [WEBRTC], "{hold}");
            now += hold + 1000;
        }
        now += 60_000;
        route.handle_silence(at(now));
        recover(&mut route, at(now));
        assert_eq!(route.next_timeout(), Some(at(now + 2000)));
    }

    #[test]
    fn silence_while_on_the_relay_starts_the_wait_anew() {
        let mut route = playing();
        route.handle_silence(at(5000));
        recover(&mut route, at(6000));
        route.handle_silence(at(7500));
        recover(&mut route, at(7800));
        route.handle_timeout(at(9799));
        assert_eq!(choices(&mut route), [SERVER]);
        route.handle_timeout(at(9800));
        assert_eq!(choices(&mut route), [WEBRTC]);
    }

    #[test]
    fn a_path_that_is_dead_one_way_is_left_by_both() {
        let mut route = playing();
        route.handle_heard(at(5000), false);
        assert_eq!(choices(&mut route), [SERVER]);
        assert_eq!(route.next_timeout(), None);
        route.handle_heard(at(9000), true);
        // Well since long ago, so that the wait is over.
        assert_eq!(choices(&mut route), [WEBRTC]);

        let mut hearer = playing();
        hearer.handle_silence(at(5000));
        let actions: Vec<_> = std::iter::from_fn(|| hearer.poll_action()).collect();
        assert_eq!(actions, [RouteAction::Hear(false), RouteAction::Choose(SERVER)]);
    }

    #[test]
    fn without_the_relay_a_silent_connection_is_kept_until_it_is_closed() {
        let mut route = Route::new(at(0));
        route.handle_opened(at(100));
        route.handle_silence(at(5000));
        assert_eq!(choices(&mut route), [WEBRTC]);
        route.handle_closed(at(7000));
        assert_eq!(choices(&mut route), [None]);
        route.handle_opened(at(9000));
        assert_eq!(choices(&mut route), [WEBRTC]);
    }

    #[test]
    fn a_relay_that_goes_leaves_what_there_is() {
        let mut route = playing();
        route.handle_server(at(5000), false);
        assert_eq!(choices(&mut route), [], "WebRTC is not affected");
        route.handle_server(at(6000), true);
        route.handle_silence(at(7000));
        route.handle_server(at(8000), false);
        assert_eq!(choices(&mut route), [SERVER, WEBRTC], "it may recover");
        route.handle_server(at(9000), true);
        route.handle_closed(at(10_000));
        route.handle_server(at(11_000), false);
        assert_eq!(choices(&mut route), [SERVER, None]);
        route.handle_server(at(12_000), true);
        assert_eq!(choices(&mut route), [SERVER], "the first moment is long over");
    }

    #[test]
    fn a_new_process_is_a_new_beginning() {
        let mut route = playing();
        route.handle_renewed(at(5000));
        assert_eq!(choices(&mut route), [None]);
        route.handle_timeout(at(5299));
        assert_eq!(choices(&mut route), []);
        route.handle_timeout(at(5300));
        assert_eq!(choices(&mut route), [SERVER]);
    }

    #[test]
    fn nobody_sends_to_one_that_has_left() {
        let mut route = playing();
        route.handle_left(at(5000));
        assert_eq!(choices(&mut route), [None]);
        route.handle_server(at(6000), true);
        route.handle_opened(at(7000));
        assert_eq!(choices(&mut route), []);
        assert_eq!(route.next_timeout(), None);
    }
}
