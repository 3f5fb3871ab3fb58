//! libFuzzer around one target: `PUSH_FUZZ_TARGET` names it, and
//! `PUSH_FUZZ_PLANTED` gives it its planted fault. The rest is libFuzzer's
//! command line.
#![no_main]
// The engine calls a function by its name, which is what `unsafe` is here.
#![allow(unsafe_code, missing_docs, clippy::disallowed_methods)]

use std::sync::OnceLock;

use fuzz::{TARGETS, Target, target};
use libfuzzer_sys::fuzz_target;

static CHOSEN: OnceLock<(&'static Target, bool)> = OnceLock::new();

fn choose() -> (&'static Target, bool) {
    let name = std::env::var("PUSH_FUZZ_TARGET").unwrap_or_default();
    let planted = std::env::var_os("PUSH_FUZZ_PLANTED").is_some();
    let Some(target) = target(&name) else {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("PUSH_FUZZ_TARGET is one of {}", names.join(", "));
        std::process::exit(2);
    };
    (target, planted)
}

fuzz_target!(init: { CHOSEN.get_or_init(choose); }, |data: &[u8]| {
    let (target, planted) = CHOSEN.get_or_init(choose);
    (target.check)(data, *planted);
});
