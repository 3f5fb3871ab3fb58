//! The figures of docs/performance.md about several gateways; each part alone
//! with its name: `fanout`, `passing`, `channels`, `unwanted`, `records`.

use tests::measure::{across, forwarded, many_channels, session_records, spliced, unwanted};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let wanted = std::env::args().nth(1);
    let runs = |name: &str| wanted.as_deref().is_none_or(|wanted| wanted == name);
    if runs("fanout") {
        println!(
            "| gateways, relay | history | deliveries/s | gateways' CPU a delivery, µs | nats-server's, µs | p50 | p99 |"
        );
        println!("|---|---|---|---|---|---|---|");
        for channel in ["plain", "kept.a"] {
            for gateways in [0, 1, 2] {
                across(gateways, channel).await?;
            }
        }
    }
    if runs("passing") {
        forwarded().await?;
        spliced().await?;
    }
    if runs("unwanted") {
        // 5,000 and 20,000 a second.
        for per_tick in [20, 80] {
            unwanted(per_tick).await?;
        }
    }
    if runs("channels") {
        many_channels().await?;
    }
    if runs("records") {
        session_records().await?;
    }
    Ok(())
}
