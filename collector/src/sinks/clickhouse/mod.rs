//! Rows into ClickHouse: Arrow as it is, into tables that existing dashboards read.
//!
//! `tables` says what goes where, `columns` makes it, `days` cuts it into inserts, `ddl` and `schema` see to the tables. Every
//! insert carries a token made of the range of the log, the table and the day: one that was made before, and whose answer was
//! lost, is a no-op there.
//!
//! Nothing is ever given up because of an answer: a table that does not fit can be mended, and the log keeps the rows meanwhile.

mod args;
mod columns;
mod days;
mod ddl;
mod schema;
mod tables;

use std::time::Duration;

use anyhow::bail;
use arrow::array::{AsArray, RecordBatch};
use arrow::compute::take_record_batch;
use arrow::datatypes::TimestampNanosecondType;
use axum::body::Bytes;
use clickhouse::Client;
use clickhouse::error::Error;
use clickhouse::insert_formatted::CompressedData;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::rt::TokioExecutor;
use observe::tls::{Files, is_https};
use store::{Handover, Portion};
use tokio::sync::Mutex;

pub(super) use args::Args;

use args::Compression;
use columns::{arrow_stream, select};
use days::{Day, days};
use ddl::Ddl;
use schema::Schema;
use tables::Destination;

use super::args::is_http;
use super::{Address, Failure, Parcel, Sent};

/// Bytes compressed and sent at once: large enough to compress well, small enough for two of them to be nothing.
const CHUNK_BYTES: usize = 1 << 20;

/// What an insert says besides its token. Inserts wait until rows are in a part, and a materialized view behind the table
/// remembers them as the table does: a repeated one reaches the view if it did not the first time.
const INSERT_SETTINGS: [(&str, &str); 4] = [
    ("insert_deduplicate", "1"),
    ("deduplicate_blocks_in_dependent_materialized_views", "1"),
    ("async_insert", "0"),
    ("input_format_null_as_default", "1"),
];

/// Connections at rest are let go before the server does so, after 3 s, in the middle of a request; as the crate does in the clear.
const IDLE_MAX: Duration = Duration::from_secs(2);

/// A table there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Part {
    destination: Destination,
    /// Of rows with absurd times.
    quarantined: bool,
}

pub(crate) struct ClickHouse {
    client: Client,
    schema: Schema,
    compression: Compression,
    portion: Portion,
    timeout: Duration,
}

/// TLS comes from here: a feature of the crate's would trust what this machine trusts and nobody else.
fn client(url: &str, tls: Files<'_>) -> anyhow::Result<Client> {
    if !is_https(url) {
        return Ok(Client::default());
    }
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls.config()?).https_only().enable_http1().build();
    let http =
        hyper_util::client::legacy::Client::builder(TokioExecutor::new()).pool_idle_timeout(IDLE_MAX).build(connector);
    Ok(Client::with_http_client(http))
}

impl ClickHouse {
    pub(super) fn new(url: &str, args: &Args, tls: Files<'_>, timeout: Duration) -> anyhow::Result<ClickHouse> {
        is_http(url)?;
        let names = args.names()?;
        let mut server = client(url, tls)?
            .with_url(url)
            .with_user(&args.clickhouse_user)
            .with_product_info("faultline", env!("CARGO_PKG_VERSION"))
            .with_compression(clickhouse::Compression::None);
        if let Some(password) = &args.clickhouse_password {
            server = server.with_password(password);
        }
        let mut client = server.clone().with_database(&args.clickhouse_database);
        if args.clickhouse_compression == Compression::Lz4 {
            client = client.with_compression(clickhouse::Compression::Lz4);
        }
        let ddl = Ddl {
            database: args.clickhouse_database.clone(),
            engine: args.clickhouse_engine.clone(),
            cluster: args.clickhouse_cluster.clone(),
            ttl_days: args.clickhouse_ttl_days,
        };
        let (rule, inserts) = (args.clickhouse_schema, Mutex::default());
        let schema = Schema { server, ddl, names, rule, timeout, inserts };
        let (compression, portion) = (args.clickhouse_compression, args.portion());
        Ok(ClickHouse { client, schema, compression, portion, timeout })
    }

    pub(super) fn portion(&self) -> Portion {
        self.portion
    }

    /// One parcel a table and day.
    pub(super) fn pack(&self, handover: &Handover) -> anyhow::Result<Vec<Parcel>> {
        let mut parcels = Vec::new();
        for batch in handover.batches.iter() {
            for destination in Destination::of(batch.table()) {
                let rows = select(*destination, batch.rows())?;
                pack_table(*destination, &rows, handover, &mut parcels)?;
            }
        }
        Ok(parcels)
    }

    pub(super) async fn send(&self, parcel: &Parcel) -> Result<Sent, Failure> {
        let Address::Table(part) = parcel.to else {
            return Err(Failure::Never { reason: "it is addressed to no table".to_owned() });
        };
        let insert = self.schema.insert(part).await?;
        match self.insert(&insert, parcel).await {
            Ok(()) => Ok(Sent::default()),
            Err(error) => {
                // Unless nobody was there, the table may be another one now.
                if !matches!(error, Error::Network(_) | Error::TimedOut) {
                    self.schema.forget(part).await;
                }
                Err(Failure::later(error))
            }
        }
    }

    /// By the `clickhouse` crate: it takes bytes of any format, so nothing is gained by posting them ourselves.
    async fn insert(&self, statement: &str, parcel: &Parcel) -> Result<(), Error> {
        let mut insert = self.client.insert_formatted_with(statement);
        for (name, value) in INSERT_SETTINGS {
            insert = insert.with_setting(name, value);
        }
        let mut insert = insert
            .with_setting("insert_deduplication_token", parcel.name.as_str())
            .with_timeouts(Some(self.timeout), Some(self.timeout));
        let mut from = 0;
        while from < parcel.body.len() {
            let chunk = parcel.body.slice(from..parcel.body.len().min(from + CHUNK_BYTES));
            from += chunk.len();
            match self.compression {
                Compression::None => insert.send(chunk).await?,
                Compression::Lz4 => insert.send_compressed(compressed(chunk).await?).await?,
            }
        }
        insert.end().await
    }
}

/// Off the async threads.
async fn compressed(chunk: Bytes) -> Result<CompressedData, Error> {
    let work = move || CompressedData::new(&chunk, clickhouse::Compression::Lz4);
    tokio::task::spawn_blocking(work).await.map_err(|panic| Error::Compression(Box::new(panic)))?
}

fn pack_table(
    destination: Destination,
    rows: &RecordBatch,
    handover: &Handover,
    parcels: &mut Vec<Parcel>,
) -> anyhow::Result<()> {
    let Some(times) = rows.column_by_name("time") else { bail!("a table without column time") };
    let columns = destination.columns();
    // The clock of the first time: a row on the border of what is believable is on the same side each time.
    let days = days(times.as_primitive::<TimestampNanosecondType>().values(), handover.since_ms);
    let alone = days.len() == 1;
    for (day, indices) in days {
        let body = match alone {
            true => arrow_stream(&columns, rows)?,
            false => arrow_stream(&columns, &take_record_batch(rows, &indices)?)?,
        };
        parcels.push(Parcel {
            to: Address::Table(Part { destination, quarantined: day == Day::Quarantine }),
            name: format!("{}-{}-{day}", handover.name, destination.what()),
            rows: indices.len() as u64,
            body: body.into(),
        });
    }
    Ok(())
}
