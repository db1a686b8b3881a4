//! Knows what an input is: fixed-width bytes with flags beside them. Does not know who gave it when.

use core::fmt;

/// What one player does in one frame, typed at the edge of the engine.
///
/// Between the edges an input is [`Input::WIDTH`] bytes, and every peer, also the one that acted, steps what
/// [`read`](Input::read) makes of them.
///
/// ```
/// use rollback_core::Input;
///
/// #[derive(Clone, Copy)]
/// struct Pad { x: i8, buttons: u8 }
///
/// impl Input for Pad {
///     const WIDTH: usize = 2;
///     fn write(&self, bytes: &mut [u8]) { bytes.copy_from_slice(&[self.x.to_le_bytes()[0], self.buttons]); }
///     fn read(bytes: &[u8]) -> Self {
///         match *bytes {
///             [x, buttons] => Self { x: i8::from_le_bytes([x]), buttons },
///             _ => Self { x: 0, buttons: 0 },
///         }
///     }
/// }
/// ```
pub trait Input: Sized {
    /// How many bytes an input takes: 1 to [`INPUT_WIDTH_MAX`], or 0 for as many as the configuration says.
    const WIDTH: usize;

    /// Writes the input into exactly so many bytes.
    fn write(&self, bytes: &mut [u8]);

    /// The input that so many bytes mean. Every byte string means one, as it may come from the network.
    fn read(bytes: &[u8]) -> Self;

    /// Whether an input that has come late means the same to the game as the one that was used in its place, so that
    /// nothing is stepped again. Unless said otherwise, only equal bytes do.
    ///
    /// The input that was *given* is what is recorded and compared between the members, and whoever heard of it in time has
    /// stepped it. So the game must go on from both, in every state, to the same state in every bit, with the same output
    /// and the same end; or the members' states part. [`SyncTest`](crate::SyncTest) proves it for the pairs that it meets.
    ///
    /// ```
    /// use rollback_core::Input;
    ///
    /// /// Up, down or nothing; every other byte is nothing, too.
    /// struct Push(i8);
    ///
    /// impl Input for Push {
    ///     const WIDTH: usize = 1;
    ///     fn write(&self, bytes: &mut [u8]) { self.0.write(bytes) }
    ///     fn read(bytes: &[u8]) -> Self { Self(Some(i8::read(bytes)).filter(|push| push.abs() == 1).unwrap_or(0)) }
    ///     fn equivalent(given: &[u8], used: &[u8]) -> bool { Self::read(given).0 == Self::read(used).0 }
    /// }
    /// ```
    #[must_use]
    fn equivalent(given: &[u8], used: &[u8]) -> bool {
        given == used
    }
}

macro_rules! integer_inputs {
    ($($integer:ty),*) => {
        $(impl Input for $integer {
            const WIDTH: usize = size_of::<Self>();

            fn write(&self, bytes: &mut [u8]) {
                bytes.copy_from_slice(&self.to_le_bytes());
            }

            fn read(bytes: &[u8]) -> Self {
                bytes.try_into().map(Self::from_le_bytes).unwrap_or_default()
            }
        })*
    };
}

integer_inputs!(u8, u16, u32, u64, u128, i8, i16, i32, i64, i128);

impl<const N: usize> Input for [u8; N] {
    const WIDTH: usize = N;

    fn write(&self, bytes: &mut [u8]) {
        bytes.copy_from_slice(self);
    }

    fn read(bytes: &[u8]) -> Self {
        bytes.try_into().unwrap_or([0; N])
    }
}

/// What is said of an input beside its bytes; part of the stream, so that all record it alike.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct InputFlags(u8);

impl InputFlags {
    /// Nothing is said.
    pub const NONE: Self = Self(0);
    /// The player's window had the focus.
    pub const FOCUSED: Self = Self(1);
    /// Nobody gave it: the player's peer had left, and idle was filled in.
    pub const IDLE_FILLED: Self = Self(2);
    /// A policy gave it, not a person.
    pub const POLICY: Self = Self(4);

    /// The flags as they are sent and recorded.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The flags with these bits; bits without a meaning are kept, so that a recording stays as it was.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// Both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Without what is said of inputs that nobody gave.
    pub(crate) const fn of_a_given_input(self) -> Self {
        Self(self.0 & !Self::IDLE_FILLED.0)
    }

    /// Whether all of `other` is said.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl fmt::Debug for InputFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [(Self::FOCUSED, "focused"), (Self::IDLE_FILLED, "idle_filled")];
        let names = names.into_iter().chain([(Self::POLICY, "policy")]);
        f.debug_set().entries(names.filter(|(flag, _)| self.contains(*flag)).map(|n| n.1)).finish()
    }
}

/// Who gives a player's inputs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Actor {
    /// A person.
    #[default]
    Person,
    /// A policy: a function from an observation to an action.
    Policy,
}

impl Actor {
    /// The actor as it is sent and recorded.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Person => 0,
            Self::Policy => 1,
        }
    }

    pub(crate) const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Person),
            1 => Some(Self::Policy),
            _ => None,
        }
    }

    /// The flags of an input that it gives, of which `said` are said.
    pub(crate) const fn flags(self, said: InputFlags) -> InputFlags {
        match self {
            Self::Person => said,
            Self::Policy => said.with(InputFlags::POLICY),
        }
    }
}

/// How the input that a step uses is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InputStatus {
    /// Its player gave it; it will not change.
    Given,
    /// It has not arrived and is a guess.
    Predicted,
    /// Its player is gone; idle was filled in by agreement and will not change.
    Idle,
}

/// The widest input: one datagram must hold a new frame and one that is repeated.
pub const INPUT_WIDTH_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_and_arrays_come_back_as_they_went() {
        let mut bytes = [0; 4];
        (-7_i32).write(&mut bytes);
        assert_eq!(bytes, [0xf9, 0xff, 0xff, 0xff]);
        assert_eq!(i32::read(&bytes), -7);
        assert_eq!(<[u8; 4]>::read(&bytes), bytes);
    }

    #[test]
    fn bytes_of_another_width_read_as_the_default() {
        assert_eq!(u16::read(&[1]), 0);
        assert_eq!(<[u8; 2]>::read(&[1]), [0, 0]);
    }
}
