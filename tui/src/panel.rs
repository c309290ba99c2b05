//! Every panel's question: its SQL in a file of its own, so that what the screen shows anyone can ask for.
//!
//! A template names its values as `$name`. Text is quoted here and nowhere else.

use std::time::Duration;

use crate::rows::{Columns, Kind};

/// One part of a screen that is filled by one query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Panel {
    Services,
    ServicesOverTime,
    Operations,
    Heatmap,
    Percentiles,
    Dependencies,
    ConsumerLag,
    Traces,
    Trace,
    LinkedTraces,
    TraceLogs,
}

/// What is asked for a panel. Two equal questions have the same answer at the same moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) panel: Panel,
    pub(crate) sql: String,
    /// What the rows are about; an older answer about the same subject may stay on the screen until the new one is here.
    pub(crate) subject: String,
    /// How far back the question looks.
    pub(crate) window: Duration,
    /// Width of one time step, for panels over time.
    pub(crate) step: Duration,
    /// Asked again after the refresh time; otherwise only until it was answered.
    pub(crate) live: bool,
}

/// A value to put into a template.
pub(crate) enum Value<'a> {
    Text(&'a str),
    /// Texts behind `in`.
    Texts(&'a [&'a str]),
    Number(i64),
    /// Becomes an interval literal in milliseconds.
    Interval(Duration),
}

impl Panel {
    /// The file its SQL lives in, under `tui/src/sql/`.
    pub(crate) fn file(self) -> &'static str {
        match self {
            Panel::Services => "services.sql",
            Panel::ServicesOverTime => "services_over_time.sql",
            Panel::Operations => "operations.sql",
            Panel::Heatmap => "heatmap.sql",
            Panel::Percentiles => "percentiles.sql",
            Panel::Dependencies => "dependencies.sql",
            Panel::ConsumerLag => "consumer_lag.sql",
            Panel::Traces => "traces.sql",
            Panel::Trace => "trace.sql",
            Panel::LinkedTraces => "linked_traces.sql",
            Panel::TraceLogs => "trace_logs.sql",
        }
    }

    fn template(self) -> &'static str {
        match self {
            Panel::Services => include_str!("sql/services.sql"),
            Panel::ServicesOverTime => include_str!("sql/services_over_time.sql"),
            Panel::Operations => include_str!("sql/operations.sql"),
            Panel::Heatmap => include_str!("sql/heatmap.sql"),
            Panel::Percentiles => include_str!("sql/percentiles.sql"),
            Panel::Dependencies => include_str!("sql/dependencies.sql"),
            Panel::ConsumerLag => include_str!("sql/consumer_lag.sql"),
            Panel::Traces => include_str!("sql/traces.sql"),
            Panel::Trace => include_str!("sql/trace.sql"),
            Panel::LinkedTraces => include_str!("sql/linked_traces.sql"),
            Panel::TraceLogs => include_str!("sql/trace_logs.sql"),
        }
    }

    /// What its answer must have.
    pub(crate) fn columns(self) -> Columns {
        use Kind::{Nested, Real, Text, Time, Whole};
        match self {
            Panel::Services => &[
                ("service", Text),
                ("requests", Real),
                ("errors", Real),
                ("p50_ns", Real),
                ("p95_ns", Real),
                ("p99_ns", Real),
            ],
            Panel::ServicesOverTime => &[("service", Text), ("step", Time), ("requests", Real), ("p95_ns", Real)],
            Panel::Operations => &[
                ("name", Text),
                ("kind", Text),
                ("requests", Real),
                ("errors", Real),
                ("p50_ns", Real),
                ("p95_ns", Real),
                ("p99_ns", Real),
            ],
            Panel::Heatmap => &[("step", Time), ("bucket", Whole), ("requests", Real), ("errors", Real)],
            Panel::Percentiles => {
                &[("step", Time), ("requests", Real), ("p50_ns", Real), ("p95_ns", Real), ("p99_ns", Real)]
            }
            Panel::Dependencies => &[
                ("source", Text),
                ("target", Text),
                ("connection", Text),
                ("topic", Text),
                ("external", Text),
                ("seconds", Real),
                ("requests", Real),
                ("errors", Real),
                ("p95_ns", Real),
                ("lag_p95_ns", Real),
            ],
            Panel::ConsumerLag => &[("topic", Text), ("consumer", Text), ("waiting", Real)],
            Panel::Traces => &[
                ("trace_id", Text),
                ("time", Time),
                ("duration_ns", Real),
                ("root", Text),
                ("root_service", Text),
                ("spans", Real),
                ("services", Real),
                ("errors", Real),
            ],
            Panel::Trace => &[
                ("time", Time),
                ("duration_ns", Real),
                ("trace_id", Text),
                ("span_id", Text),
                ("parent_span_id", Text),
                ("service", Text),
                ("name", Text),
                ("kind", Text),
                ("status", Text),
                ("status_message", Text),
                ("attributes", Nested),
                ("resource", Nested),
                ("events", Nested),
                ("links", Nested),
            ],
            Panel::LinkedTraces => &[("trace_id", Text)],
            Panel::TraceLogs => &[
                ("time", Time),
                ("span_id", Text),
                ("service", Text),
                ("severity", Whole),
                ("severity_text", Text),
                ("body", Text),
                ("attributes", Nested),
            ],
        }
    }

    /// Its SQL with the values in place.
    pub(crate) fn sql(self, values: &[(&str, Value)]) -> String {
        let mut sql = self.template().trim_end().to_owned();
        for (name, value) in values {
            let literal = match value {
                Value::Text(text) => quoted(text),
                Value::Texts(texts) => texts.iter().copied().map(quoted).collect::<Vec<_>>().join(", "),
                Value::Number(number) => number.to_string(),
                Value::Interval(interval) => format!("interval '{}'", interval_words(*interval)),
            };
            sql = sql.replace(&format!("${name}"), &literal);
        }
        sql
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Whole seconds read better where they are exact.
fn interval_words(interval: Duration) -> String {
    match interval.as_millis() {
        ms if ms % 1000 == 0 => format!("{} seconds", ms / 1000),
        ms => format!("{ms} milliseconds"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Panel; 11] = [
        Panel::Services,
        Panel::ServicesOverTime,
        Panel::Operations,
        Panel::Heatmap,
        Panel::Percentiles,
        Panel::Dependencies,
        Panel::ConsumerLag,
        Panel::Traces,
        Panel::Trace,
        Panel::LinkedTraces,
        Panel::TraceLogs,
    ];

    #[test]
    fn values_are_quoted_once_and_here() {
        let sql = Panel::Operations
            .sql(&[("window", Value::Interval(Duration::from_millis(1500))), ("service", Value::Text("o'brien"))]);
        assert!(sql.contains("'o''brien'"), "{sql}");
        assert!(sql.contains("interval '1500 milliseconds'"), "{sql}");
    }

    #[test]
    fn every_template_names_its_columns_and_is_bounded() {
        for panel in ALL {
            let sql = panel.template();
            assert!(sql.starts_with("-- "), "{} says what it shows", panel.file());
            assert!(sql.contains("limit "), "{} is bounded", panel.file());
            for (column, _) in panel.columns() {
                assert!(sql.contains(column), "{} selects {column}", panel.file());
            }
        }
    }
}
