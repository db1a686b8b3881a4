//! The rungs of finality (predicted, confirmed, stable, agreed) as types that cannot be mixed up.

use crate::Frame;

macro_rules! rung {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        pub struct $name(Frame);

        impl $name {
            /// The rung reaches every frame before `end`.
            #[must_use]
            pub(crate) const fn before(end: Frame) -> Self {
                Self(end)
            }

            /// The first frame that the rung does not reach.
            #[must_use]
            pub const fn end(self) -> Frame {
                self.0
            }

            /// Whether the rung reaches `frame`.
            #[must_use]
            pub fn includes(self, frame: Frame) -> bool {
                frame < self.0
            }
        }
    };
}

rung! {
    /// Frames of which this peer holds every player's input.
    Confirmed
}
rung! {
    /// Frames of which every member of the view is known to hold every input. Nothing can retract them.
    Stable
}
rung! {
    /// Frames up to which the members' state hashes are equal.
    Agreed
}
