//! A shorter form of the kill test: `cargo run --release -p tests --bin kill`
//! is the whole one.

use tests::kill::Scenario;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_client_ends_with_the_streams_content_whoever_is_killed() {
    let report = Scenario::short().run().await;
    println!("{report}");
    assert!(report.is_clean(), "{report}");
    assert!(report.reconnects > 0, "nobody was cut off: {report}");
}
