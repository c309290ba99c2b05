//! The query part as its clients see it: over HTTP, or started here for as long as the command runs.

use std::path::PathBuf;

use anyhow::{Context, bail};
use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamDecoder;
use reqwest::StatusCode;
use reqwest::header::ACCEPT;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) const JSON: &str = "application/json";
pub(crate) const CSV: &str = "text/csv";
const ARROW: &str = "application/vnd.apache.arrow.stream";

/// Where answers come from.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Source {
    /// Where the query part listens
    #[arg(long, env = "FAULTLINE_URL", default_value = "http://127.0.0.1:7317", conflicts_with = "data_dir")]
    pub url: String,
    /// Read this folder directly instead; nothing needs to run
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
}

pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    /// Stops the query part that was started for a folder.
    _own: Option<DropGuard>,
}

/// An answer that says no: the server's own sentence.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    sentence: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.sentence)
    }
}

impl std::error::Error for Refused {}

impl Client {
    pub(crate) async fn open(source: &Source) -> anyhow::Result<Client> {
        let (url, own) = match &source.data_dir {
            None => (source.url.trim_end_matches('/').to_owned(), None),
            Some(data_dir) => {
                let (url, own) = serve(data_dir.clone()).await?;
                (url, Some(own))
            }
        };
        Ok(Client { http: reqwest::Client::new(), url, _own: own })
    }

    /// An answer with status 200, its body not yet read.
    pub(crate) async fn sql(&self, sql: &str, accept: &str) -> anyhow::Result<reqwest::Response> {
        let request = self.http.post(format!("{}/v1/sql", self.url)).header(ACCEPT, accept).body(sql.to_owned());
        self.send(request).await
    }

    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<reqwest::Response> {
        self.send(self.http.get(format!("{}{path}", self.url))).await
    }

    /// Rows as they come.
    pub(crate) async fn rows(&self, sql: &str) -> anyhow::Result<Rows> {
        Ok(Rows { response: self.sql(sql, ARROW).await?, decoder: StreamDecoder::new(), unread: Buffer::default() })
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<reqwest::Response> {
        let response = request.send().await.with_context(|| {
            format!(
                "no answer from {}; is `faultline up` or `faultline query` running there? (--url, --data-dir)",
                self.url
            )
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = response.text().await.unwrap_or_default();
        let error = serde_json::from_str::<serde_json::Value>(&text).ok();
        let sentence = error.as_ref().and_then(|error| error.get("error")?.as_str());
        Err(Refused { status, sentence: sentence.map_or_else(|| format!("{status}: {text}"), str::to_owned) }.into())
    }
}

/// The rows of one answer.
pub(crate) struct Rows {
    response: reqwest::Response,
    decoder: StreamDecoder,
    unread: Buffer,
}

impl Rows {
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.decoder.decode(&mut self.unread).context("could not read the rows")? {
                return Ok(Some(batch));
            }
            match self.response.chunk().await.context("the answer broke off; the log of the query part says why")? {
                Some(chunk) => self.unread = Buffer::from(chunk),
                None => {
                    self.decoder.finish().context("the answer broke off")?;
                    return Ok(None);
                }
            }
        }
    }

    pub(crate) async fn collect(mut self) -> anyhow::Result<(SchemaRef, Vec<RecordBatch>)> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next().await? {
            batches.push(batch);
        }
        match self.decoder.schema() {
            Some(schema) => Ok((schema, batches)),
            None => bail!("the answer has no columns"),
        }
    }
}

/// The query part on a port of its own, over a folder.
async fn serve(data_dir: PathBuf) -> anyhow::Result<(String, DropGuard)> {
    if !data_dir.is_dir() {
        bail!("{} is no folder", data_dir.display());
    }
    let query_listen = "127.0.0.1:0".parse().context("a constant that parses")?;
    let server = query::Server::bind(query::Args { data_dir, query_listen, limits: query::Limits::default() }).await?;
    let url = format!("http://{}", server.address());
    let stop = CancellationToken::new();
    let own = stop.clone().drop_guard();
    tokio::spawn(server.run(stop));
    Ok((url, own))
}
