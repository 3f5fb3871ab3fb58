//! Memory under hostile churn: see `tests::churn`. `--minutes 20` of it, and
//! five more in which all are gone. Other arguments are more of the gateway's
//! configuration, as YAML.
//!
//! Fails when the gateway's memory, with nobody there, ends over 5 % above
//! what it was after the first two minutes.

use anyhow::Context as _;
use tests::churn::Churn;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (mut minutes, mut config) = (20, String::new());
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--minutes" {
            let word = words.next().context("--minutes needs a number")?;
            minutes = word.parse().context("--minutes")?;
        } else {
            config += &word;
            config.push('\n');
        }
    }
    let report = Churn { config, ..Churn::minutes(minutes) }.run().await?;
    println!("{report}");
    anyhow::ensure!(report.all_reasons().is_empty(), "not as it should be");
    Ok(())
}
