-- From $from on: until when did more events than $usual wait, outbox and all consumers together? Null: at no time.
WITH waiting AS (
  SELECT date_trunc('second', time) AS second, sum(value) / count(DISTINCT time) AS events
  FROM metrics
  WHERE name IN ('faultline.outbox.pending', 'kafka.consumer_group.lag') AND time >= $from AND time <= $to
  GROUP BY 1, service, resource['service.instance.id'], name
),
seconds AS (
  SELECT second, sum(events) AS events FROM waiting GROUP BY second
)
SELECT (max(CAST(second AS BIGINT)) - CAST($from AS BIGINT) * 1000) / 1e9 + 1 AS seconds
FROM seconds
WHERE events > $usual
