-- From the last commit in the request that created a payment to the end of each of its effects in another service.
WITH causes AS (
  SELECT request.trace_id, max(CAST(inner_span.end_time AS BIGINT)) AS committed_ns
  FROM spans AS request
  JOIN spans AS inner_span ON inner_span.trace_id = request.trace_id
  WHERE request.service = 'core' AND request.kind = 'Server' AND request.name = 'POST /v1/payments'
    AND request.time >= $from AND request.time <= $to
    AND inner_span.service = 'core' AND inner_span.name = 'COMMIT'
    AND inner_span.time >= $from AND inner_span.time >= request.time AND inner_span.end_time <= request.end_time
  GROUP BY request.trace_id
),
effects AS (
  SELECT
    trace_id,
    CASE WHEN service = 'analytics' THEN 'projection' ELSE name END AS effect,
    CAST(end_time AS BIGINT) AS visible_ns
  FROM spans
  WHERE time >= $from AND (
    (service = 'jobs' AND name IN ('write receipt', 'send mail', 'send webhook'))
    OR (service = 'analytics' AND kind = 'Consumer')
  )
)
SELECT
  effect,
  count(*) AS count,
  approx_percentile_cont((visible_ns - committed_ns) / 1e6, 0.5) AS p50_ms,
  approx_percentile_cont((visible_ns - committed_ns) / 1e6, 0.95) AS p95_ms,
  max(visible_ns - committed_ns) / 1e6 AS max_ms
FROM effects
JOIN causes ON causes.trace_id = effects.trace_id
GROUP BY effect
ORDER BY effect
