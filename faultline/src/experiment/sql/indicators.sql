-- What was under strain in core, or between the services, from $from to $to.
SELECT
  waits.p95_ms AS pool_wait_p95_ms,
  statements.p95_ms AS statement_p95_ms,
  CASE WHEN requests.count > 0 THEN calls.total_ms / requests.count END AS calls_ms_per_request,
  outbox.most AS outbox_pending_max,
  lags.most AS lag_max
FROM (
  SELECT approx_percentile_cont(duration_ns, 0.95) / 1e6 AS p95_ms
  FROM spans
  WHERE service = 'core' AND name = 'BEGIN' AND time >= $from AND time <= $to
) AS waits
CROSS JOIN (
  SELECT approx_percentile_cont(duration_ns, 0.95) / 1e6 AS p95_ms
  FROM spans
  WHERE service = 'core' AND name <> 'BEGIN' AND attributes['db.system.name'] IS NOT NULL
    AND time >= $from AND time <= $to
) AS statements
CROSS JOIN (
  SELECT sum(duration_ns) / 1e6 AS total_ms
  FROM spans
  WHERE service = 'core' AND kind = 'Client' AND attributes['db.system.name'] IS NULL
    AND time >= $from AND time <= $to
) AS calls
CROSS JOIN (
  SELECT count(*) AS count
  FROM spans
  WHERE service = 'core' AND kind = 'Server' AND time >= $from AND time <= $to
) AS requests
CROSS JOIN (
  SELECT max(value) AS most
  FROM metrics
  WHERE name = 'faultline.outbox.pending' AND time >= $from AND time <= $to
) AS outbox
CROSS JOIN (
  SELECT max(lag) AS most
  FROM (
    SELECT time, sum(value) AS lag
    FROM metrics
    WHERE name = 'kafka.consumer_group.lag' AND time >= $from AND time <= $to
    GROUP BY service, resource['service.instance.id'], time
  )
) AS lags
