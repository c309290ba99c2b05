-- What fails: spans with status Error and logs of severity error or worse, by kind of failure and minute.
-- time: start of the minute
-- source: span or log
-- service: where it happened
-- name: the span's name; the scope of a log
-- error: exception.type or error.type, else the span's status message or the first 200 characters of the log's body
-- count: spans or log records
-- last_time: the latest of them
-- trace_id: trace of the latest that belongs to one, lower-case hex; null when none does
WITH failures AS (
  SELECT
    time, 'span' AS source, service, name, trace_id,
    coalesce(attributes['exception.type'], attributes['error.type'], nullif(status_message, ''), 'unknown') AS error
  FROM stored.spans
  WHERE status = 'Error' AND time >= $from AND time <= $to
  UNION ALL
  SELECT
    time, 'log', service, scope_name, trace_id,
    coalesce(attributes['exception.type'], attributes['error.type'], nullif(substr(body, 1, 200), ''), 'unknown')
  FROM stored.logs
  WHERE severity_number >= 17 AND time >= $from AND time <= $to
)
SELECT
  date_trunc('minute', time) AS time,
  source,
  service,
  name,
  error,
  count(*) AS count,
  max(time) AS last_time,
  hex_ids(last_value(trace_id ORDER BY trace_id IS NOT NULL, time)) AS trace_id
FROM failures
GROUP BY 1, 2, 3, 4, 5
