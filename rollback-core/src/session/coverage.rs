//! Counts which ways the agreement on members went, over all sessions of a process. Only tests read it.

#[cfg(feature = "testing")]
use core::sync::atomic::{AtomicU64, Ordering};

macro_rules! ways {
    ($($way:ident: $name:literal,)*) => {
        /// A way that the agreement can go.
        #[derive(Clone, Copy)]
        pub(crate) enum Way {
            $($way,)*
        }

        #[cfg(feature = "testing")]
        const NAMES: [&str; [$($name),*].len()] = [$($name),*];
    };
}

ways! {
    Suspected: "suspicions that were proposed",
    Kicked: "kicks that were proposed",
    Joined: "claims that were joined",
    Narrowed: "proposals that became smaller",
    Repeated: "claims that told nothing new, or how much is held",
    OfAnotherView: "claims of another view",
    OfAnotherProposal: "claims of another proposal",
    NoSay: "claims heard by one that has left or goes",
    NoQuorum: "proposals without a quorum",
    Evicted: "peers that heard that they are left out",
    AwaitsClaims: "proposals that waited for claims",
    AwaitsInputs: "proposals that waited for inputs up to a cut",
    Committed: "views that were committed",
    CommittedDecided: "views that were followed since others had committed them",
    StaysFrozen: "new views with a member that is frozen",
    Going: "members whose simulation failed",
    Left: "members that had left",
    LeftWhileProposed: "members that had left while they were in a proposal",
    PassedOn: "claims of a committed view, for a member that lags",
    EvictionTold: "members that were told that they are left out",
}

/// Counts that it went this way; only where tests may ask for it.
#[inline]
pub(crate) fn reach(way: Way) {
    #[cfg(feature = "testing")]
    if let Some(count) = REACHED.get(way as usize) {
        count.fetch_add(1, Ordering::Relaxed);
    }
    #[cfg(not(feature = "testing"))]
    let _ = way;
}

/// Every way with its name and how often it was gone in this process.
#[cfg(feature = "testing")]
pub(crate) fn reached() -> impl Iterator<Item = (&'static str, u64)> {
    NAMES.into_iter().zip(REACHED.iter().map(|count| count.load(Ordering::Relaxed)))
}

#[cfg(feature = "testing")]
static REACHED: [AtomicU64; NAMES.len()] = [const { AtomicU64::new(0) }; NAMES.len()];
