//! The control interface of a running `up`, as its clients see it.

use std::path::PathBuf;

use anyhow::{Context, bail};
use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::up::control;

/// Which `up` is meant.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct At {
    /// The data folder of the `faultline up` that is meant.
    #[arg(long, env = "FAULTLINE_DATA_DIR", default_value = "./data", value_name = "FOLDER")]
    data_dir: PathBuf,
}

pub(crate) struct Door {
    client: reqwest::Client,
    path: PathBuf,
}

impl At {
    pub(crate) fn door(&self) -> anyhow::Result<Door> {
        let path = control::socket(&self.data_dir);
        if !path.exists() {
            bail!(
                "no `faultline up` runs on {}; start one, or name the folder of one that runs with --data-dir",
                self.data_dir.display()
            );
        }
        let client = reqwest::Client::builder().unix_socket(path.clone()).build()?;
        Ok(Door { client, path })
    }
}

impl Door {
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.ask(Method::GET, path, None::<&()>).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> anyhow::Result<T> {
        self.ask(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> anyhow::Result<()> {
        self.ask::<Value>(Method::DELETE, path, None::<&()>).await.map(drop)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> anyhow::Result<T> {
        let mut request = self.client.request(method, format!("http://up{path}"));
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.with_context(|| {
            format!("nobody answers at {}; that `faultline up` has ended, start it again", self.path.display())
        })?;
        said(response).await
    }
}

/// The body of an answer that says yes; else its sentence as the error.
pub(crate) async fn said<T: DeserializeOwned>(response: reqwest::Response) -> anyhow::Result<T> {
    let status = response.status();
    let text = response.text().await?;
    if status.is_success() {
        let body = if text.is_empty() { "null" } else { &text };
        return serde_json::from_str(body).with_context(|| format!("the answer makes no sense: {text}"));
    }
    let error: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    // Ours say `error`, core's problems `detail`.
    match error["error"].as_str().or(error["detail"].as_str()).or(error["title"].as_str()) {
        Some(sentence) => bail!("{sentence}"),
        None => bail!("answered {status}: {text}"),
    }
}
