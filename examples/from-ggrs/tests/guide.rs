//! `docs/from-ggrs.md` shows the files of this example as they are, and names only what there is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

#[test]
fn the_code_of_the_guide_is_that_of_the_files() {
    let guide = fs::read_to_string(root().join("docs/from-ggrs.md")).unwrap();
    let blocks: Vec<_> = guide
        .split("```rust\n")
        .skip(1)
        .map(|block| block.split("```").next().unwrap_or_default())
        .collect();
    let files = ["src/on_ggrs.rs", "src/on_rollback.rs"]
        .map(|file| fs::read_to_string(root().join("examples/from-ggrs").join(file)).unwrap());
    assert_eq!(blocks, files.each_ref(), "copy the file into the guide");
}

#[test]
fn every_name_in_the_tables_is_defined() {
    let mut defined = BTreeSet::new();
    for folder in ["rollback-core/src", "rollback-webrtc/src"] {
        note_definitions(&root().join(folder), &mut defined).unwrap();
    }
    let guide = fs::read_to_string(root().join("docs/from-ggrs.md")).unwrap();
    let rows = guide.lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.split('|').nth(HERE)).filter(|cell| cell.contains('`'));
    let spans = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let names: Vec<_> = spans.flat_map(|span| span.split("::")).collect();
    assert!(names.len() > 80, "{} names are not all of them", names.len());
    let missing: Vec<_> = names.iter().filter(|name| !defined.contains(**name)).collect();
    assert!(missing.is_empty(), "nothing is called {missing:?}");
}

/// Collects what is defined in the files below a folder: items, fields, variants and associated types.
fn note_definitions(folder: &Path, defined: &mut BTreeSet<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            note_definitions(&path, defined)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            for line in fs::read_to_string(path)?.lines() {
                let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
                let mut words = words.filter(|word| !word.is_empty());
                // What defines a name stands before it; of fields and variants nothing does.
                let name = words.find(|word| !KEYWORDS.contains(word));
                defined.extend(name.map(str::to_owned));
            }
        }
    }
    Ok(())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The column of the tables that names what is here, counted from before the first bar.
const HERE: usize = 3;

const KEYWORDS: [&str; 9] =
    ["pub", "crate", "super", "fn", "struct", "enum", "trait", "type", "const"];
