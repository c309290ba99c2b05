//! The UI from outside: what it says when it cannot start.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tui::Args;

fn args(query_url: &str) -> Args {
    Args { query_url: query_url.to_owned(), refresh: Duration::from_secs(2), window: Duration::from_secs(300) }
}

#[tokio::test]
async fn a_query_url_that_is_none_is_a_sentence() {
    let error = tui::run(args("not a url"), CancellationToken::new()).await.expect_err("no URL");
    assert!(error.to_string().contains("--query-url not a url is not a URL"), "{error:#}");
}
