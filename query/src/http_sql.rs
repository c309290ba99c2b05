//! `POST /v1/sql`: a question as text, or as JSON `{"sql": …}`; rows in the format that Accept asks for.
//!
//! The status code tells the truth: JSON and CSV are complete before the first byte leaves. Arrow streams, so a failure after
//! its first megabyte can only break the connection; a reader sees a stream without its end.

use axum::body::Body;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use serde::Deserialize;
use tokio::sync::mpsc;

use crate::failure::Failure;
use crate::format::{Encoder, Format};
use crate::{Answer, Engine, QueryError};

/// Bytes of an Arrow answer that are held back so that an early failure still gets its status code.
const HELD_BYTES: usize = 1 << 20;
/// Chunks of a streamed answer that wait for its reader.
const CHUNKS_WAITING_MAX: usize = 2;

#[derive(Deserialize)]
struct Question {
    sql: String,
}

pub(crate) async fn answer(
    State(engine): State<Engine>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Failure> {
    let body = body.map_err(|rejection| Failure::new(rejection.status(), rejection.body_text()))?;
    let format = accepted(&headers)?;
    let sql = question(&headers, &body)?;
    let mut answer = engine.sql(&sql).await?;
    let mut encoder = Limited::new(&engine, format, &answer)?;
    while let Some(batch) = answer.next().await? {
        encoder.write(&batch)?;
        if format == Format::Arrow && encoder.inner.written() > HELD_BYTES {
            let head = encoder.take();
            let body = Body::from_stream(stream::iter([Ok(head)]).chain(rest(answer, encoder)));
            return Ok(([(CONTENT_TYPE, format.content_type())], body).into_response());
        }
    }
    Ok(([(CONTENT_TYPE, format.content_type())], encoder.finish()?).into_response())
}

fn accepted(headers: &HeaderMap) -> Result<Format, Failure> {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    Format::accepted(accept).ok_or_else(|| {
        Failure::new(
            StatusCode::NOT_ACCEPTABLE,
            "answers are application/json, text/csv or application/vnd.apache.arrow.stream",
        )
    })
}

fn question(headers: &HeaderMap, body: &[u8]) -> Result<String, Failure> {
    let bad = |sentence: String| Failure::new(StatusCode::BAD_REQUEST, sentence);
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/json") {
        return serde_json::from_slice::<Question>(body)
            .map(|question| question.sql)
            .map_err(|error| bad(format!("the body is not JSON {{\"sql\": \"…\"}}: {error}")));
    }
    std::str::from_utf8(body).map(str::to_owned).map_err(|error| bad(format!("the body is not UTF-8 text: {error}")))
}

/// An encoder that refuses to write more than an answer may have.
struct Limited {
    inner: Encoder,
    taken: usize,
    bytes_max: usize,
}

impl Limited {
    fn new(engine: &Engine, format: Format, answer: &Answer) -> Result<Limited, QueryError> {
        let inner = Encoder::new(format, answer.schema())?;
        Ok(Limited { inner, taken: 0, bytes_max: engine.limits().query_answer_bytes_max })
    }

    fn write(&mut self, batch: &arrow::array::RecordBatch) -> Result<(), QueryError> {
        self.inner.write(batch)?;
        match self.taken + self.inner.written() > self.bytes_max {
            true => Err(QueryError::too_many_bytes(self.bytes_max)),
            false => Ok(()),
        }
    }

    fn take(&mut self) -> Bytes {
        let bytes = self.inner.take();
        self.taken += bytes.len();
        bytes.into()
    }

    fn finish(self) -> Result<Bytes, QueryError> {
        Ok(self.inner.finish()?.into())
    }
}

/// The rows after the head, one chunk a batch. A client that reads too slowly loses its turn at the deadline like any other.
fn rest(answer: Answer, encoder: Limited) -> impl Stream<Item = Result<Bytes, QueryError>> + Send {
    let (chunks, mut body) = mpsc::channel(CHUNKS_WAITING_MAX);
    tokio::spawn(async move {
        if let Err(error) = pump(answer, encoder, &chunks).await {
            tracing::warn!(exception.message = %error, "an answer was broken off: {error}");
            // The body must not end as if it were whole. A closed channel means that nobody reads any more.
            let _ = chunks.send(Err(error)).await;
        }
    });
    stream::poll_fn(move |context| body.poll_recv(context))
}

async fn pump(
    mut answer: Answer,
    mut encoder: Limited,
    chunks: &mpsc::Sender<Result<Bytes, QueryError>>,
) -> Result<(), QueryError> {
    while let Some(batch) = answer.next().await? {
        encoder.write(&batch)?;
        if answer.in_time(chunks.send(Ok(encoder.take()))).await?.is_err() {
            return Ok(());
        }
    }
    let last = encoder.finish()?;
    let _ = answer.in_time(chunks.send(Ok(last))).await?;
    Ok(())
}
