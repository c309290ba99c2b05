-- Traces with a stored root span: how long the root took, how long everything it caused took. Order by duration_ns.
-- time: start of the root span
-- trace_id: lower-case hex
-- service: service of the root span
-- name: name of the root span
-- status: status of the root span
-- duration_ns: duration of the root span, nanoseconds
-- trace_duration_ns: from the first start to the last end of all spans, nanoseconds; longer than the root when work goes on after it
-- spans: spans of the trace
-- services: services with a span in it
-- errors: spans with status Error
WITH roots AS (
  SELECT trace_id, time, service, name, status, duration_ns
  FROM stored.spans
  WHERE parent_span_id IS NULL AND time >= $from AND time <= $to
),
wholes AS (
  SELECT
    trace_id,
    max(CAST(end_time AS BIGINT)) - min(CAST(time AS BIGINT)) AS trace_duration_ns,
    count(*) AS spans,
    count(DISTINCT service) AS services,
    sum(CASE WHEN status = 'Error' THEN 1 ELSE 0 END) AS errors
  FROM stored.spans
  WHERE time >= $from_skewed
  GROUP BY trace_id
)
SELECT
  root.time,
  hex_ids(root.trace_id) AS trace_id,
  root.service,
  root.name,
  root.status,
  root.duration_ns,
  whole.trace_duration_ns,
  whole.spans,
  whole.services,
  whole.errors
FROM roots AS root
JOIN wholes AS whole ON root.trace_id = whole.trace_id
