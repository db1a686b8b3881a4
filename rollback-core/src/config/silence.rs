//! The setting for what becomes of a silent peer. `session/departure.rs` carries it out.

use super::ConfigError;

/// What becomes of a peer that was silent for as long as the departure timeout. Below the prediction window nobody waits for
/// it in any case, and beyond it all do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Silence {
    /// The members agree to go on without it, and its players are idle. Its slot is kept: it may come
    /// [back](crate::Session::rejoin) where the members [expect](crate::Session::readmit) it.
    #[default]
    Depart,
    /// The same, and its slot is closed: nobody comes back into it unless every member
    /// [keeps it](crate::Session::reserve_slot).
    DepartForGood,
    /// The others wait, for as long as it takes, until it is heard again, it is [sent away](crate::Session::kick), or they
    /// go: one that leaves while another is silent waits no longer than the timeout, and its episode ends as
    /// [`Partitioned`](crate::EndCause::Partitioned).
    Wait,
}

impl Silence {
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Depart => 0,
            Self::DepartForGood => 1,
            Self::Wait => 2,
        }
    }

    pub(super) fn from_code(code: u8) -> Result<Self, ConfigError> {
        match code {
            0 => Ok(Self::Depart),
            1 => Ok(Self::DepartForGood),
            2 => Ok(Self::Wait),
            got => {
                Err(ConfigError::OutOfRange { field: "silence", min: 0, max: 2, got: got.into() })
            }
        }
    }
}
