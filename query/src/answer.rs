//! The rows of one answer as they come, within its limits.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;

use crate::QueryError;
use crate::turn::Turn;

/// Rows as they come. Dropping it ends the query.
pub struct Answer {
    schema: SchemaRef,
    rows: SendableRecordBatchStream,
    turn: Turn,
    rows_left: usize,
    rows_max: usize,
}

impl Answer {
    pub(crate) fn new(rows: SendableRecordBatchStream, turn: Turn, rows_max: usize) -> Answer {
        let schema = distinct_names(&rows.schema());
        Answer { schema, rows, turn, rows_left: rows_max, rows_max }
    }

    /// Columns of every batch. Of columns with one name the later ones get a number: `name`, `name_2`.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The next rows, or none at the end.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, QueryError> {
        let next = self.read().await;
        match &next {
            Ok(Some(_)) => {}
            Ok(None) => self.turn.ended("answered"),
            Err(error) => self.turn.ended(error.outcome()),
        }
        next
    }

    async fn read(&mut self) -> Result<Option<RecordBatch>, QueryError> {
        let next = tokio::time::timeout_at(self.turn.deadline(), self.rows.next()).await;
        let Some(batch) = next.map_err(|_elapsed| self.turn.slow())?.transpose()? else { return Ok(None) };
        let Some(left) = self.rows_left.checked_sub(batch.num_rows()) else {
            return Err(QueryError::too_many_rows(self.rows_max));
        };
        self.rows_left = left;
        Ok(Some(RecordBatch::try_new(self.schema(), batch.columns().to_vec())?))
    }

    /// Waits for something else within the time of this answer.
    pub(crate) async fn in_time<T>(&mut self, other: impl Future<Output = T>) -> Result<T, QueryError> {
        tokio::time::timeout_at(self.turn.deadline(), other).await.map_err(|_elapsed| {
            let slow = self.turn.slow();
            self.turn.ended(slow.outcome());
            slow
        })
    }
}

fn distinct_names(schema: &SchemaRef) -> SchemaRef {
    let mut names: Vec<String> = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let mut name = field.name().clone();
        let mut number = 2;
        while names.contains(&name) {
            name = format!("{}_{number}", field.name());
            number += 1;
        }
        names.push(name);
    }
    let fields = schema.fields().iter().zip(names);
    Arc::new(Schema::new(fields.map(|(field, name)| field.as_ref().clone().with_name(name)).collect::<Vec<Field>>()))
}
