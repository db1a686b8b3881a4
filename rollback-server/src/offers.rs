//! Makes what members are offered, with the time of day and the secrets of this process.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use rollback_signaling::ServerMessage;

use crate::clock::unix_secs;
use crate::ice::IceOffer;
#[cfg(feature = "turn")]
use crate::turn_server::TurnServer;

/// What is offered, and the TURN server of this process.
pub(crate) struct Offers {
    offer: IceOffer,
    #[cfg(feature = "turn")]
    embedded: Option<(TurnServer, Vec<u8>)>,
}

impl Offers {
    /// Starts the TURN server, if there is to be one, where the whole server listens.
    ///
    /// # Errors
    /// When the offer makes no sense, or the TURN server cannot be started.
    pub(crate) async fn start(offer: &IceOffer, listen: IpAddr) -> io::Result<Self> {
        offer.check().map_err(io::Error::other)?;
        #[cfg(feature = "turn")]
        return Ok(Self { offer: offer.clone(), embedded: start_embedded(offer, listen).await? });
        #[cfg(not(feature = "turn"))]
        match offer.embedded {
            None => Ok(Self { offer: offer.clone() }),
            Some(_) => Err(io::Error::other(format!(
                "this program was built without the TURN server that is to run beside {listen}"
            ))),
        }
    }

    /// Everything for one client that reached this computer at this address, good for so long at most.
    pub(crate) fn message(
        &self,
        who: &str,
        valid: Duration,
        reached: Option<IpAddr>,
    ) -> Option<ServerMessage> {
        #[cfg(feature = "turn")]
        let (url, secret) = match &self.embedded {
            Some((server, secret)) => {
                server.members().admit(who);
                (server.url(reached), secret.as_slice())
            }
            None => (None, [].as_slice()),
        };
        #[cfg(not(feature = "turn"))]
        let (url, secret) = (reached.and(None::<String>), [].as_slice());
        let embedded = url.as_deref().map(|url| (url, secret));
        let message = self.offer.message(who, (unix_secs(), valid), embedded);
        message.inspect_err(|error| tracing::error!(%error, "ICE servers cannot be offered")).ok()
    }

    /// A member has left: the TURN server of this process is for it no more, as soon as it has said goodbye to others.
    pub(crate) fn dismiss(&self, who: &str) {
        #[cfg(feature = "turn")]
        if let Some((server, _)) = &self.embedded {
            server.members().dismiss(who, PORTS_END_AFTER);
        }
        #[cfg(not(feature = "turn"))]
        let _ = who;
    }

    pub(crate) async fn close(&self) {
        #[cfg(feature = "turn")]
        if let Some((server, _)) = &self.embedded {
            server.close().await;
        }
    }
}

/// How long the ports of one that has left relay what it says to others at the end.
#[cfg(feature = "turn")]
const PORTS_END_AFTER: Duration = Duration::from_secs(10);

#[cfg(feature = "turn")]
async fn start_embedded(
    offer: &IceOffer,
    listen: IpAddr,
) -> io::Result<Option<(TurnServer, Vec<u8>)>> {
    let Some(config) = offer.embedded else { return Ok(None) };
    let mut secret = vec![0; 32];
    getrandom::fill(&mut secret).map_err(io::Error::other)?;
    let server = TurnServer::start(config, listen, secret.clone()).await?;
    Ok(Some((server, secret)))
}
