//! A collector at 80 % of what it and all its sinks can take, killed again and again while its sinks fail one after the other: in
//! the end every acknowledged item is in the store and in each sink, once.
//!
//! ```text
//! load ──▶ first ──▶ ClickHouse
//!            ├─OTLP──▶ second   (refuses requests it already has)
//!            └─Kafka──▶ third   (reads them from there, refuses messages it already has)
//! ```
//! `just soak` takes an hour; `FAULTLINE_SOAK_SECONDS` makes it shorter, and then all that happens in it happens more often.

mod far_ends;
mod ledger;
mod load;

use std::time::{Duration, Instant};

use anyhow::Context;

use far_ends::{ClickHouse, Kafka, Outages, Receiver};
use ledger::{Ledger, Place};
use load::Load;

/// An hour has twelve kills.
const KILLS: u32 = 12;
/// How long capacity is measured, of all the time.
const CALIBRATION_SHARE: u32 = 30;
/// Of capacity: what is left is for catching up.
const LOAD_SHARE: f64 = 0.8;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes an hour and real servers: `just soak`"]
async fn what_was_acknowledged_is_in_the_store_and_in_each_sink_once() -> anyhow::Result<()> {
    let _turn = e2e::Turn::take();
    let seconds = std::env::var("FAULTLINE_SOAK_SECONDS").map_or(Ok(3600), |text| text.parse())?;
    let time = Duration::from_secs(seconds);
    let kafka = Kafka::from_testbed().await?;
    let clickhouse = ClickHouse::from_testbed().await?;
    // What a kill makes the first send again, they have already.
    let folder = tempfile::tempdir()?;
    let processors = folder.path().join("processors.toml");
    std::fs::write(&processors, "[processors.repeats]\nwindow_seconds = 3600\n")?;
    let processors = format!("--processors={}", processors.display());
    let mut second = Receiver::new(vec![processors.clone()])?;
    let mut third = Receiver::new([vec![processors], kafka.as_source().to_vec()].concat())?;
    let settings = [
        "--segment-age-max-ms=2000".to_owned(),
        "--sink-retry-max-ms=2000".to_owned(),
        format!("--clickhouse-url={}", clickhouse.url()),
        format!("--clickhouse-database={}", clickhouse.database),
        format!("--otlp-out-url={}", second.grpc()),
    ];
    let mut first = Receiver::new([settings.to_vec(), kafka.as_sink().to_vec()].concat())?;
    for receiver in [&mut first, &mut second, &mut third] {
        receiver.start().await?;
    }

    let ledger = Ledger::new();
    let load = Load::start(first.http(), &ledger, None);
    let began = Instant::now();
    tokio::time::sleep(time / CALIBRATION_SHARE).await;
    load.stop().await;
    let places = [Place::Store(second.query()), Place::Store(third.query()), Place::ClickHouse(&clickhouse)];
    caught_up(&first, &places).await?;
    let capacity = ledger.answered_items() as f64 / began.elapsed().as_secs_f64();
    println!("capacity with three sinks: {capacity:.0} items/s");

    let load = Load::start(first.http(), &ledger, Some(capacity * LOAD_SHARE));
    let began = Instant::now();
    let mut outages = Outages::over(time);
    let mut kills = 0;
    while began.elapsed() < time {
        if began.elapsed() > time / KILLS * (kills + 1) {
            first.kill();
            first.start().await?;
            kills += 1;
        }
        outages.next(&clickhouse, &kafka, &mut second, &mut third).await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    outages.end(&clickhouse, &kafka, &mut second, &mut third).await?;
    load.stop().await;
    let waiting = Instant::now();
    let places = [Place::Store(second.query()), Place::Store(third.query()), Place::ClickHouse(&clickhouse)];
    caught_up(&first, &places).await?;
    println!(
        "{} requests with {} items acknowledged, {} requests unanswered, {kills} kills, {} outages; caught up after {:.0} s",
        ledger.answered_requests(),
        ledger.answered_items(),
        ledger.unanswered_requests(),
        outages.count,
        waiting.elapsed().as_secs_f64(),
    );
    ledger.compare(&Place::Store(first.query()), &places).await
}

/// Waits until every place has as many rows as the first.
async fn caught_up(first: &Receiver, places: &[Place<'_>]) -> anyhow::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(900);
    let began = Instant::now();
    let first = Place::Store(first.query());
    loop {
        let wanted = first.rows().await.context("the first collector's store")?;
        let mut found = Vec::new();
        for place in places {
            found.push(place.rows().await.with_context(|| place.name())?);
        }
        if found.iter().all(|rows| *rows == wanted) {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            anyhow::bail!("the store has {wanted:?} rows, and after {PATIENCE:?} the sinks have {found:?}");
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
