//! How a connection begins. An offer over direct ways only says so in a line of its own, so that the peer names no address
//! at a TURN server either; descriptions may have lines that their reader does not know (RFC 8866 §5.13).

/// How a connection begins.
#[derive(Debug)]
pub(crate) enum Opening {
    /// With an own offer.
    Offer,
    /// With an own offer, over direct ways only.
    DirectOffer,
    /// With the peer's offer.
    Answer(String),
}

impl Opening {
    /// With the peer's offer, or an own one.
    pub(crate) fn of(offer: Option<String>) -> Self {
        offer.map_or(Self::Offer, Self::Answer)
    }

    pub(super) const fn is_offer(&self) -> bool {
        matches!(self, Self::Offer | Self::DirectOffer)
    }

    /// Whether no TURN server is used.
    pub(super) fn is_direct(&self) -> bool {
        match self {
            Self::Offer => false,
            Self::DirectOffer => true,
            Self::Answer(offer) => offer.lines().any(|line| line == MARK),
        }
    }

    /// The peer's.
    pub(super) fn into_offer(self) -> Option<String> {
        match self {
            Self::Offer | Self::DirectOffer => None,
            Self::Answer(offer) => Some(offer),
        }
    }
}

/// An own offer over direct ways only.
pub(super) fn marked(offer: &str) -> String {
    format!("{offer}{MARK}\r\n")
}

const MARK: &str = "a=x-direct-only";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_over_direct_ways_only_is_known_by_its_line() {
        assert!(Opening::of(Some(marked("v=0\r\n"))).is_direct());
        assert!(!Opening::of(Some("v=0\r\na=x-direct-only-not\r\n".to_owned())).is_direct());
        assert!(!Opening::of(None).is_direct());
    }
}
