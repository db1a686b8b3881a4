//! The file in which the groups that play outlast the server. A server that is killed leaves it as it was written last.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::saved::SavedGroups;

/// Written anew whenever a group changes.
#[derive(Debug)]
pub(crate) struct StateFile {
    path: PathBuf,
    /// Not before this time: with thousands of groups a file takes long to write.
    next_at: Instant,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    format: u8,
    saved: SavedGroups,
}

impl StateFile {
    /// The file, and what was kept in it; nothing if there is none yet.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, SavedGroups)> {
        let file = Self { path: path.to_owned(), next_at: Instant::now() };
        let text = match fs::read(path) {
            Ok(text) => text,
            // That it can be written is found out now, and not when a match has begun.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                file.replace(&SavedGroups::default()).map_err(|error| file.named(error))?;
                return Ok((file, SavedGroups::default()));
            }
            Err(error) => return Err(file.named(error)),
        };
        let content = serde_json::from_slice(&text);
        let content: Content = content.map_err(|error| file.refused(error))?;
        match content.format {
            FORMAT => Ok((file, content.saved)),
            got => Err(file.refused(format!("expected format {FORMAT}, got {got}"))),
        }
    }

    /// Whether it may be written again so soon.
    pub(crate) fn is_due(&self) -> bool {
        Instant::now() >= self.next_at
    }

    /// Writes it anew. Answers whether that worked; if not, the log says why.
    pub(crate) fn write(&mut self, groups: &SavedGroups) -> bool {
        let began = Instant::now();
        let written = self.replace(groups);
        let pause = match &written {
            Ok(()) => began.elapsed() * REST,
            Err(_) => RETRY,
        };
        self.next_at = Instant::now() + pause;
        if let Err(error) = &written {
            tracing::error!(file = %self.path.display(), %error, "the groups cannot be kept");
        }
        written.is_ok()
    }

    fn replace(&self, groups: &SavedGroups) -> io::Result<()> {
        let content = Content { format: FORMAT, saved: groups.clone() };
        let mut new = self.path.clone().into_os_string();
        new.push(".new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        // Whoever reads a token can take its slot.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&new)?;
        file.write_all(&serde_json::to_vec(&content)?)?;
        drop(file);
        // Whole, or as it was.
        fs::rename(&new, &self.path)
    }

    pub(crate) fn refused(&self, why: impl std::fmt::Display) -> io::Error {
        let why = format!("{}: this is no file of groups: {why}", self.path.display());
        io::Error::new(ErrorKind::InvalidData, why)
    }

    fn named(&self, error: io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{}: {error}", self.path.display()))
    }
}

const FORMAT: u8 = 1;

/// So many times as long as a write took, there is none.
const REST: u32 = 10;

/// After one that failed.
const RETRY: Duration = Duration::from_secs(1);
