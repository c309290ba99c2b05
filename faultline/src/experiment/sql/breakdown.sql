-- Where the time of the requests '$name' goes, milliseconds of the mean request: each span's own time, without that of its
-- children, by what it is. Only what lies inside the request counts; what an event causes later does not.
WITH requests AS (
  SELECT trace_id, span_id, time, end_time
  FROM spans
  WHERE service = 'core' AND kind = 'Server' AND name = '$name' AND status <> 'Error' AND time >= $from AND time <= $to
),
inside AS (
  SELECT
    span.trace_id, span.span_id, span.parent_span_id, span.duration_ns,
    CASE
      WHEN span.kind = 'Server' THEN 'core itself'
      WHEN span.name = 'BEGIN' THEN 'wait for a transaction'
      WHEN span.name = 'COMMIT' THEN 'commit'
      WHEN span.attributes['db.system.name'] IS NOT NULL THEN 'SQL statements'
      WHEN span.kind = 'Client' THEN 'call to ' || coalesce(
        span.attributes['peer.service'], span.attributes['server.address'] || ':' || span.attributes['server.port'], span.name
      )
      ELSE span.name
    END AS part
  FROM spans AS span
  JOIN requests ON requests.trace_id = span.trace_id
  WHERE span.service = 'core' AND span.kind NOT IN ('Producer', 'Consumer')
    AND span.time >= $from AND span.time >= requests.time AND span.end_time <= requests.end_time
),
children AS (
  SELECT trace_id, parent_span_id, sum(duration_ns) AS duration_ns
  FROM inside
  WHERE parent_span_id IS NOT NULL
  GROUP BY trace_id, parent_span_id
)
SELECT
  inside.part AS part,
  sum(greatest(inside.duration_ns - coalesce(children.duration_ns, 0), 0)) / 1e6 / max(counted.requests) AS ms,
  max(counted.requests) AS requests
FROM inside
LEFT JOIN children ON children.trace_id = inside.trace_id AND children.parent_span_id = inside.span_id
CROSS JOIN (SELECT count(*) AS requests FROM requests) AS counted
GROUP BY inside.part
ORDER BY ms DESC
