-- Every event that the consumer of one service took from $from to $to: which, when, how long, which instance, which partition.
SELECT
  attributes['messaging.message.id'] AS id,
  CAST(time AS BIGINT) / 1000 AS began_us,
  duration_ns / 1e6 AS service_ms,
  resource['service.instance.id'] AS instance,
  attributes['messaging.destination.name'] || '/' || attributes['messaging.destination.partition.id'] AS partition
FROM spans
WHERE service = '$service' AND kind = 'Consumer' AND time >= $from AND time <= $to
ORDER BY time
