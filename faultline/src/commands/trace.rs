//! `faultline trace`: one story over services as an indented waterfall.

mod waterfall;

use anyhow::Context;
use arrow::array::AsArray;
use reqwest::StatusCode;
use serde_json::Value;

use super::sql::client::{Client, Refused, Source};
use super::sql::table::terminal_width;
use super::sql::{copy, print};

/// Width of the drawing, in characters, when stdout is no terminal.
const WIDTH: usize = 100;

#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Args {
    /// A trace id (32 hex digits), or any value of an attribute of its spans, such as the id of a payment
    pub id: String,
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
    #[command(flatten)]
    pub source: Source,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// A waterfall with logs
    Text,
    /// Spans as a tree, and logs
    Json,
    /// The stored spans and logs as OTLP/JSON
    Otlp,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let client = Client::open(&args.source).await?;
    let format = if args.format == Format::Otlp { "otlp" } else { "json" };
    let response = story(&client, &args.id, format).await?;
    if args.format != Format::Text {
        copy(response).await?;
        return print(b"\n");
    }
    let story: Value = response.json().await.context("the story is not JSON")?;
    print(waterfall::draw(&story, terminal_width().unwrap_or(WIDTH)).as_bytes())
}

/// The trace with this id, or else the first one that mentions it.
async fn story(client: &Client, id: &str, format: &str) -> anyhow::Result<reqwest::Response> {
    let path = |trace: &str| format!("/v1/traces/{trace}?format={format}");
    let hex = id.len() == 32 && id.bytes().all(|digit| digit.is_ascii_hexdigit());
    let refused = match hex {
        false => None,
        true => match client.get(&path(id)).await {
            Err(error) if error.downcast_ref::<Refused>().is_some_and(|no| no.status == StatusCode::NOT_FOUND) => {
                Some(error)
            }
            answered => return answered,
        },
    };
    let mentions = mentions(client, id).await?;
    match mentions.as_slice() {
        [] => Err(refused.unwrap_or_else(|| {
            anyhow::anyhow!("no trace has this id, and no span an attribute with the value {id:?}")
        })),
        [first] => client.get(&path(first)).await,
        [first, others @ ..] => {
            eprintln!("{} traces mention {id}; this is the first, later ones are {}", mentions.len(), others.join(" "));
            client.get(&path(first)).await
        }
    }
}

/// Traces with a span that has an attribute of this value, the earliest first.
async fn mentions(client: &Client, value: &str) -> anyhow::Result<Vec<String>> {
    let sql = format!(
        "SELECT trace_id FROM spans WHERE array_has(map_values(attributes), '{}') GROUP BY trace_id ORDER BY min(time) LIMIT 20",
        value.replace('\'', "''")
    );
    let (_, batches) = client.rows(&sql).await?.collect().await?;
    let mut traces = Vec::new();
    for batch in &batches {
        let ids = batch.column(0).as_string_opt::<i32>().context("trace ids are text")?;
        traces.extend(ids.iter().flatten().map(str::to_owned));
    }
    Ok(traces)
}
