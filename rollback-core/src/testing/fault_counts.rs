//! How often each fault struck.

use alloc::vec::Vec;

macro_rules! fault_counts {
    ($($(#[$doc:meta])+ $field:ident: $name:literal,)*) => {
        /// How often each fault struck.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct FaultCounts {
            $($(#[$doc])+ pub $field: u64,)*
        }

        impl FaultCounts {
            /// Every count with its name.
            #[must_use]
            pub fn entries(&self) -> Vec<(&'static str, u64)> {
                alloc::vec![$(($name, self.$field)),*]
            }

            /// Adds the counts of another simulation.
            pub fn add(&mut self, other: &Self) {
                $(self.$field += other.$field;)*
            }
        }
    };
}

fault_counts! {
    /// Datagrams lost each by itself.
    lost: "datagrams lost",
    /// Datagrams lost in a burst.
    lost_in_bursts: "datagrams lost in bursts",
    /// Datagrams that arrived twice.
    duplicated: "datagrams duplicated",
    /// Datagrams that were overtaken by a later one.
    overtaken: "datagrams overtaken",
    /// Datagrams with flipped bits.
    flipped: "datagrams with flipped bits",
    /// Datagrams that were cut short.
    truncated: "datagrams truncated",
    /// Datagrams stopped by a partition or a muted way.
    partitioned: "datagrams stopped by partitions",
    /// Times that the network broke.
    partitions: "partitions",
    /// Times that one way between two peers broke.
    mutes: "broken ways",
    /// Times that a peer stood still.
    pauses: "pauses",
    /// Frames that took long.
    slow_frames: "slow frames",
    /// Times that a peer's machine was too slow.
    slow_machines: "slow machines",
    /// Times that a peer told the others of a lower rate that it can hold.
    rates_told: "lower rates told",
    /// Times that a peer followed another down to a lower rate.
    rates_followed: "lower rates followed",
    /// Times that a peer came back to the tick rate.
    rates_recovered: "returns to the tick rate",
    /// Peers that crashed.
    crashes: "crashes",
    /// Datagrams lost in the last moments before a crash.
    crash_tails: "last datagrams lost in a crash",
    /// Peers that left in order.
    leaves: "orderly leaves",
    /// Changes of an input delay, by a peer for itself or for all.
    delay_changes: "changes of an input delay",
    /// Times that a peer had all stand still.
    agreed_pauses: "pauses agreed",
    /// Times that a peer's players were driven by another from then on.
    actor_swaps: "swaps of person and policy",
    /// Bits of states that were flipped.
    rays: "bits of states flipped",
    /// Peers that began a new life in their slot.
    returns: "peers that came back",
    /// Peers that the others let in again.
    let_in: "peers that were let in again",
    /// States that one that came back went on from.
    states_taken: "states taken by ones that came back",
    /// States that were damaged on their way to one that came back.
    states_damaged: "states damaged on their way",
    /// States whose source was lost on the way.
    state_sources_lost: "states whose source was lost",
    /// Spectators that saw something.
    spectators: "spectators",
    /// Spectators that joined when a second had been played.
    late_spectators: "spectators that joined late",
    /// Spectators that were fed by another for a while.
    relays: "spectators fed by another",
    /// Times that a spectator was fed by another host than before.
    host_changes: "changes of a spectator's host",
    /// Datagrams between spectators and their hosts that were lost.
    watching_lost: "datagrams of watching lost",
    /// Peers that another sent away, or no longer waited for.
    kicks: "peers that were kicked",
    /// Peers that came back into a slot that had been closed, once it was open again.
    reopened: "closed slots that were opened again",
    /// Peers that came back into a closed slot.
    refused: "peers that found their slot closed",
    /// Members that came to a slot of which nobody had said hello.
    late: "peers that came late",
    /// Peers whose clock runs fast or slow by more than one part in a thousand.
    skewed_clocks: "skewed clocks",
    /// Peers whose games are shown ahead of the frame that is played.
    shown_ahead: "games shown ahead",
}
