//! Questions to the query node in SQL, as anyone could ask them.

use std::time::Duration;

use serde::de::DeserializeOwned;

#[derive(Clone)]
pub(crate) struct Questions {
    client: reqwest::Client,
    url: String,
}

impl Questions {
    /// `patience`: an answer that comes later is of no use.
    pub(crate) fn to(query_address: &str, patience: Duration) -> anyhow::Result<Questions> {
        let client = reqwest::Client::builder().timeout(patience).build()?;
        Ok(Questions { client, url: format!("http://{query_address}/v1/sql") })
    }

    pub(crate) async fn rows<T: DeserializeOwned>(&self, sql: &str) -> anyhow::Result<Vec<T>> {
        let response = self.client.post(&self.url).body(sql.to_owned()).send().await?;
        if !response.status().is_success() {
            anyhow::bail!("{}", response.text().await?);
        }
        Ok(response.json().await?)
    }

    /// The only row of an answer.
    pub(crate) async fn row<T: DeserializeOwned>(&self, sql: &str) -> anyhow::Result<T> {
        self.rows(sql).await?.pop().ok_or_else(|| anyhow::anyhow!("no row"))
    }
}
