//! Runs tests that share one API server, one after the other. The usual
//! runner has no word for a test that could not run: it would be a pass.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use super::ApiServer;

/// A test by its name.
pub type Test = (&'static str, fn(&ApiServer));

/// Tests that share one API server.
pub struct Suite {
    /// The controllers that run: [`super::CONTROLLERS`], or fewer.
    pub controllers: &'static str,
    /// Run once before the first.
    pub before: fn(&ApiServer),
    /// In this order.
    pub tests: &'static [Test],
    /// A last one, of what all the others have done; run after all of them only.
    pub last: Option<Test>,
}

// === impl Suite ===

impl Suite {
    /// Runs them as `cargo test` expects it: arguments are parts of names.
    pub fn main(&self) -> ExitCode {
        let words: Vec<String> = std::env::args().skip(1).collect();
        if words.iter().any(|word| word == "--list") {
            for (name, _) in self.tests.iter().chain(&self.last) {
                println!("{name}: test");
            }
            return ExitCode::SUCCESS;
        }
        let filters: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
        let mut chosen: Vec<&Test> = self
            .tests
            .iter()
            .filter(|(name, _)| filters.is_empty() || filters.iter().any(|f| name.contains(*f)))
            .collect();
        if chosen.len() == self.tests.len() {
            chosen.extend(&self.last);
        }
        println!("\nrunning {} tests", chosen.len());
        if chosen.is_empty() {
            return ExitCode::SUCCESS;
        }
        let Some(kubernetes) = ApiServer::start(self.controllers) else {
            for (name, _) in &chosen {
                println!("test {name} ... ignored, no Kubernetes to test with");
            }
            println!("\ntest result: ok. 0 passed; 0 failed; {} ignored", chosen.len());
            return ExitCode::SUCCESS;
        };
        kubernetes.must_with(&["apply", "--server-side", "-f", "-"], &super::operator::crd());
        kubernetes.eventually("the definition to be served", || {
            kubernetes.kubectl(&["get", "pushclusters", "-A"]).ok.then_some(())
        });
        (self.before)(&kubernetes);
        let mut failed = 0;
        for (name, test) in &chosen {
            // What a test has left is its namespace's, and no other's.
            let passed = catch_unwind(AssertUnwindSafe(|| test(&kubernetes))).is_ok();
            failed += usize::from(!passed);
            println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        }
        let passed = chosen.len() - failed;
        let result = if failed == 0 { "ok" } else { "FAILED" };
        println!("\ntest result: {result}. {passed} passed; {failed} failed; 0 ignored\n");
        if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
