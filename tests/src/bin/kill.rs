//! The kill test, whole: see `tests::kill`. Fails when a client does not end
//! with exactly the stream's content.

use tests::kill::Scenario;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let report = Scenario::long().run().await;
    println!("{report}");
    anyhow::ensure!(report.is_clean(), "not what the stream holds");
    Ok(())
}
