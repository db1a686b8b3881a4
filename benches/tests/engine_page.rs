//! `docs/engine.md` names files and functions of the engine: all of them are there.

#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs};

#[test]
fn every_file_on_the_page_is_there() {
    let spans = spans();
    let files: Vec<_> = spans.iter().filter(|span| span.ends_with(".rs")).collect();
    assert!(files.len() > 50, "{} files are not all of them", files.len());
    let exists = |file: &str| FOLDERS.iter().any(|folder| root().join(folder).join(file).is_file());
    let missing: Vec<_> = files.into_iter().filter(|file| !exists(file)).collect();
    assert!(missing.is_empty(), "there is no {missing:?}");
}

#[test]
fn every_name_on_the_page_is_in_the_source() {
    let mut known = BTreeSet::new();
    for folder in ["rollback-core/src", "benches/src"] {
        note_words(&root().join(folder), &mut known);
    }
    let spans = spans();
    let is_name = |span: &&String| span.chars().all(|c| c.is_alphanumeric() || "_:".contains(c));
    let names: Vec<_> = spans.iter().filter(is_name).flat_map(|span| span.split("::")).collect();
    assert!(names.len() > 80, "{} names are not all of them", names.len());
    let missing: Vec<_> = names.into_iter().filter(|name| !known.contains(*name)).collect();
    assert!(missing.is_empty(), "nothing is called {missing:?}");
}

/// What stands between backticks, outside of blocks of code.
fn spans() -> Vec<String> {
    let page = fs::read_to_string(root().join("docs/engine.md")).unwrap();
    let prose: String = page.split("```").step_by(2).collect();
    prose.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn note_words(folder: &Path, known: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            note_words(&path, known);
        } else {
            let text = fs::read_to_string(&path).unwrap();
            known.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
            let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
            known.extend(words.map(str::to_owned));
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What the paths on the page may begin below.
const FOLDERS: [&str; 7] = [
    "",
    "rollback-core",
    "rollback-core/src",
    "rollback-core/src/peer",
    "rollback-core/src/session",
    "rollback-core/src/testing",
    "rollback-core/src/wire",
];
