//! Every input of the corpus, once more: what fuzzing has found stays found.

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use crate::TARGETS;

/// All of it, in bytes.
const MOST: u64 = 1 << 20;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn inputs(target: &str) -> Vec<PathBuf> {
    let folder = std::fs::read_dir(corpus().join(target)).unwrap();
    folder.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn every_input_of_the_corpus_is_as_it_must_be() {
    for target in TARGETS {
        let inputs = inputs(target.name);
        assert!(!inputs.is_empty(), "{} has no input", target.name);
        for path in inputs {
            let data = std::fs::read(&path).unwrap();
            assert!(catch_unwind(|| (target.check)(&data, false)).is_ok(), "{}", path.display());
        }
    }
}

/// From these the engine sets out to find the planted bugs.
#[test]
fn no_seed_shows_the_planted_bug() {
    for target in TARGETS {
        let seeds = inputs(target.name).into_iter().filter(|path| is_seed(path));
        let seeds: Vec<Vec<u8>> = seeds.map(|path| std::fs::read(path).unwrap()).collect();
        assert!(!seeds.is_empty(), "{} has no seed", target.name);
        for seed in seeds {
            let shown = catch_unwind(|| (target.check)(&seed, true)).is_err();
            assert!(!shown, "{}: {}", target.name, String::from_utf8_lossy(&seed));
        }
    }
}

fn is_seed(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("seed-"))
}

#[test]
fn nothing_lies_in_the_corpus_that_no_target_reads() {
    for entry in std::fs::read_dir(corpus()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(TARGETS.iter().any(|target| target.name == name), "corpus/{name}");
    }
}

#[test]
fn the_corpus_is_small() {
    let size = TARGETS.iter().flat_map(|target| inputs(target.name));
    let size: u64 = size.map(|path| std::fs::metadata(path).unwrap().len()).sum();
    assert!(size < MOST, "{size} bytes; tests/fuzz/run --minimise");
}
