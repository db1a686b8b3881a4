//! What one who watches records.

use std::path::Path;

use rollback_core::recording::RecordingHeader;
use rollback_core::spectate::{Spectator, Watched};
use rollback_core::{EndCause, Frame, Game, GameError, StateHash, StateHasher};

use super::watch_loop::WatchError;
use crate::recording_file::{RecordError, RecordingFile};

/// The file of an episode that is watched.
pub(super) struct WatchedRecording {
    file: RecordingFile,
    completed_episodes: u32,
}

impl WatchedRecording {
    pub(super) fn create(
        path: &Path,
        header: &RecordingHeader,
        completed_episodes: u32,
    ) -> Result<Self, RecordError> {
        Ok(Self { file: RecordingFile::create(path, header)?, completed_episodes })
    }

    /// Steps what is to be shown next, and records it.
    pub(super) fn advance<G: Game>(
        &mut self,
        spectator: &mut Spectator,
        game: &mut G,
    ) -> Result<Watched, WatchError<G::Error>> {
        let mut pushed = Ok(());
        let watched = spectator.advance_with(game, |frame| {
            if pushed.is_ok() {
                pushed = self.file.push(frame);
            }
        })?;
        pushed?;
        self.file.agreed(spectator.settled())?;
        if let Watched::Ended(end) = watched {
            // Where only the hosts say that nothing more comes, no state was agreed on.
            let is_agreed = spectator.agreed_end().is_some() && end.cause != EndCause::Desync;
            let hash = if is_agreed { Some(state_of(game, end.frame)?) } else { None };
            let completed = self.completed_episodes + u32::from(end.cause.is_completed());
            self.file.finish(end, hash, completed)?;
        }
        Ok(watched)
    }

    /// Writes what is proved. No end follows, so none can be before it.
    pub(super) fn stop(mut self, spectator: &Spectator) -> Result<(), RecordError> {
        self.file.agreed(spectator.checked())
    }
}

fn state_of<G: Game>(game: &G, frame: Frame) -> Result<StateHash, WatchError<G::Error>> {
    let (mut slot, mut hasher) = (G::Snapshot::default(), StateHasher::new());
    let failed = |error| WatchError::Spectate(GameError::into(error));
    game.save(&mut slot).map_err(|source| failed(GameError::Save { frame, source }))?;
    game.hash(&slot, &mut hasher).map_err(|source| failed(GameError::Hash { frame, source }))?;
    Ok(hasher.finish())
}
