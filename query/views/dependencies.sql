-- Who depends on whom: calls (child in another service) and messages (span link, or child, of the producer's span), by minute.
-- time: start of the minute in which the caller's or producer's span started
-- source: service that calls or produces
-- target: service that answers or consumes; a peer that sends no spans by its database system or address
-- connection: sync or message
-- topic: messaging.destination.name of a message, null for a call
-- external: true when the target sends no spans and is known by name alone
-- requests: calls answered or messages processed; a message that is both child and linked counts once
-- errors: those where either side has status Error
-- error_share: errors / requests, 0 to 1
-- p95_ns: 95th percentile of the target's duration (of the caller's when external), nanoseconds, approximate
-- lag_p95_ns: 95th percentile from the end of producing to the start of processing, nanoseconds; null for a call
WITH callers AS (
  SELECT
    trace_id, span_id, time, end_time, duration_ns, service, kind, status,
    CASE WHEN kind = 'Producer' THEN attributes['messaging.destination.name'] END AS topic,
    CASE WHEN kind = 'Client' THEN coalesce(attributes['db.system.name'], attributes['db.system']) END AS database,
    CASE WHEN kind = 'Client' THEN coalesce(
      attributes['peer.service'],
      attributes['server.address'] || coalesce(':' || attributes['server.port'], '')
    ) END AS address
  FROM stored.spans
  WHERE time >= $from AND time <= $to
),
answers AS (
  SELECT trace_id, span_id, parent_span_id, time, duration_ns, service, kind, status
  FROM stored.spans
  WHERE time >= $from_skewed AND kind IN ('Server', 'Consumer') AND parent_span_id IS NOT NULL
),
linked AS (
  SELECT DISTINCT trace_id, span_id, parent_span_id, time, duration_ns, service, status,
    link['trace_id'] AS from_trace_id, link['span_id'] AS from_span_id
  FROM (
    SELECT *, unnest(links) AS link
    FROM stored.spans
    WHERE time >= $from_skewed AND kind = 'Consumer' AND cardinality(links) > 0
  )
),
edges AS (
  SELECT
    caller.time, caller.service AS source, coalesce(answer.service, caller.database, caller.address) AS target,
    CASE WHEN answer.kind = 'Consumer' THEN 'message' ELSE 'sync' END AS connection,
    caller.topic, answer.span_id IS NULL AS external, coalesce(answer.duration_ns, caller.duration_ns) AS duration_ns,
    CASE WHEN caller.status = 'Error' OR answer.status = 'Error' THEN 1 ELSE 0 END AS failed,
    CASE WHEN answer.kind = 'Consumer' THEN CAST(answer.time AS BIGINT) - CAST(caller.end_time AS BIGINT) END AS lag_ns
  FROM callers AS caller
  LEFT JOIN answers AS answer ON answer.trace_id = caller.trace_id AND answer.parent_span_id = caller.span_id
  WHERE CASE
    WHEN answer.span_id IS NOT NULL THEN answer.service <> caller.service OR caller.kind IN ('Client', 'Producer')
    WHEN caller.database IS NOT NULL THEN true
    -- The other side of a young call may still be on its way here.
    ELSE caller.address IS NOT NULL AND caller.end_time < now() - INTERVAL '15 seconds'
  END
  UNION ALL
  SELECT
    caller.time, caller.service, answer.service, 'message', caller.topic, false, answer.duration_ns,
    CASE WHEN caller.status = 'Error' OR answer.status = 'Error' THEN 1 ELSE 0 END,
    CAST(answer.time AS BIGINT) - CAST(caller.end_time AS BIGINT)
  FROM linked AS answer
  JOIN callers AS caller ON answer.from_trace_id = caller.trace_id AND answer.from_span_id = caller.span_id
  WHERE caller.kind = 'Producer'
    -- A child that links to its parent is in the first half already.
    AND NOT (answer.trace_id = caller.trace_id AND coalesce(answer.parent_span_id = caller.span_id, false))
)
SELECT
  date_trunc('minute', time) AS time,
  source,
  target,
  connection,
  topic,
  external,
  count(*) AS requests,
  sum(failed) AS errors,
  avg(failed) AS error_share,
  CAST(approx_percentile_cont(duration_ns, 0.95) AS BIGINT) AS p95_ns,
  CAST(approx_percentile_cont(lag_ns, 0.95) AS BIGINT) AS lag_p95_ns
FROM edges
GROUP BY 1, 2, 3, 4, 5, 6
