//! 9,000 clients of one gateway, which is killed: all come to the two others
//! at once. Fails when that takes over 15 s, costs more than one key-value
//! write or a NATS subscription each, delays publishing by over 250 ms (99 %),
//! or loses something. The first argument: how many clients.

use std::time::Duration;

use anyhow::ensure;
use tests::storm::Storm;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let clients = std::env::args().nth(1).map_or(Ok(9_000), |text| text.parse())?;
    let storm = Storm { clients, channels: 900.min(clients), per_second: 100 };
    let report = storm.run().await?;
    println!("{report}");
    ensure!(
        report.lost == 0 && report.disordered == 0 && report.unrecovered == 0,
        "something is missing"
    );
    ensure!(report.all <= Duration::from_secs(15), "over 15 s");
    ensure!(report.writes <= clients as u64, "over one write each");
    ensure!(report.subscriptions_after <= report.subscriptions_before + 10, "subscriptions");
    ensure!(report.publish[1] <= Duration::from_millis(250), "publishing was over 250 ms");
    Ok(())
}
