//! Good clients while others attack the gateway: see `tests::hostile`. About
//! 90 seconds. Arguments: more of the gateway's configuration, as YAML, such
//! as `limits: {messagesPerSecond: 50}`; or `--small`, a tenth of it, whose
//! figures say nothing.
//!
//! Fails when something is lost, less arrives than is due, or 99 % of it takes
//! more than twice as long as without attackers.

use tests::hostile::{Hostile, role};

fn main() -> anyhow::Result<()> {
    let mut words = std::env::args().skip(1);
    let mut hostile = Hostile::whole();
    while let Some(word) = words.next() {
        if word == role::ROLE {
            return role::play(&words.next().unwrap_or_default());
        }
        if word == "--small" {
            hostile = Hostile { config: hostile.config, ..Hostile::small() };
            continue;
        }
        hostile.config += &word;
        hostile.config.push('\n');
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(hostile.run())?;
    println!("{report}");
    anyhow::ensure!(report.reasons().is_empty(), "not as it should be");
    Ok(())
}
