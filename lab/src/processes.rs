//! The processes of a run: each in its host, with its output in files. All are ended when this goes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// How a process is started.
#[derive(Clone, Debug)]
pub struct Program {
    /// In which namespace.
    pub namespace: String,
    /// In which folder.
    pub folder: PathBuf,
    /// The file to run.
    pub file: PathBuf,
    /// With what.
    pub arguments: Vec<String>,
    /// Variables of its environment, beside those of the lab.
    pub environment: Vec<(String, String)>,
}

/// Processes by their names.
#[derive(Debug)]
pub struct Processes {
    folder: PathBuf,
    programs: BTreeMap<String, Program>,
    running: BTreeMap<String, Child>,
    starts: BTreeMap<String, u32>,
}

impl Processes {
    /// None yet; their output goes into a folder.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            programs: BTreeMap::new(),
            running: BTreeMap::new(),
            starts: BTreeMap::new(),
        }
    }

    /// Says how a process is started.
    pub fn add(&mut self, name: &str, program: Program) {
        self.programs.insert(name.to_owned(), program);
    }

    /// Starts a process, for the first time or again.
    ///
    /// # Errors
    /// When it runs already, or cannot be started.
    pub fn start(&mut self, name: &str) -> io::Result<()> {
        let program = self.programs.get(name).ok_or(io::ErrorKind::NotFound)?;
        if self.running.contains_key(name) {
            return Err(io::Error::other(format!("{name} runs already")));
        }
        let count = self.starts.entry(name.to_owned()).or_default();
        *count += 1;
        let output = |kind: &str| File::create(self.folder.join(format!("{name}-{count}.{kind}")));
        let child = Command::new("ip")
            .args(["netns", "exec", &program.namespace])
            .arg(&program.file)
            .args(&program.arguments)
            .envs(program.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&program.folder)
            .stdin(Stdio::null())
            .stdout(output("out")?)
            .stderr(output("err")?)
            .spawn()?;
        self.running.insert(name.to_owned(), child);
        Ok(())
    }

    /// Ends a process as `kill -9` does.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self, name: &str) -> io::Result<()> {
        let mut child = self
            .running
            .remove(name)
            .ok_or_else(|| io::Error::other(format!("{name} is to be killed and does not run")))?;
        child.kill()?;
        child.wait().map(drop)
    }

    /// Whether a process runs; how it ended, if it has by itself.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn ended(&mut self, name: &str) -> io::Result<Option<ExitStatus>> {
        match self.running.get_mut(name) {
            Some(child) => child.try_wait(),
            None => Ok(None),
        }
    }

    /// The number of a process that runs.
    #[must_use]
    pub fn pid(&self, name: &str) -> Option<u32> {
        self.running.get(name).map(Child::id)
    }

    /// What a process wrote, from its last start.
    #[must_use]
    pub fn output(&self, name: &str, kind: &str) -> String {
        let count = self.starts.get(name).copied().unwrap_or_default();
        fs::read_to_string(self.folder.join(format!("{name}-{count}.{kind}"))).unwrap_or_default()
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for child in self.running.values_mut() {
            // One that has ended needs no more.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
