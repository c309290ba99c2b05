-- Rate, errors and duration of what each service answers, by operation and minute.
-- time: start of the minute in which the span started
-- service: service that answered
-- name: operation, the span's name
-- kind: Server for requests, Consumer for messages
-- requests: spans
-- errors: spans with status Error
-- error_share: errors / requests, 0 to 1
-- p50_ns: median duration, nanoseconds, approximate
-- p95_ns: 95th percentile of the duration, nanoseconds, approximate
-- p99_ns: 99th percentile of the duration, nanoseconds, approximate
SELECT
  date_trunc('minute', time) AS time,
  service,
  name,
  kind,
  count(*) AS requests,
  sum(CASE WHEN status = 'Error' THEN 1 ELSE 0 END) AS errors,
  avg(CASE WHEN status = 'Error' THEN 1.0 ELSE 0.0 END) AS error_share,
  CAST(approx_percentile_cont(duration_ns, 0.50) AS BIGINT) AS p50_ns,
  CAST(approx_percentile_cont(duration_ns, 0.95) AS BIGINT) AS p95_ns,
  CAST(approx_percentile_cont(duration_ns, 0.99) AS BIGINT) AS p99_ns
FROM stored.spans
WHERE kind IN ('Server', 'Consumer') AND time >= $from AND time <= $to
GROUP BY 1, 2, 3, 4
