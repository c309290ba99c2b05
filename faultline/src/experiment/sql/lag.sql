-- Events that wait for each service, and on how many partitions it looked: the last word of each of its instances on each of
-- them since $from.
SELECT service, sum(lag) AS lag, count(*) AS partitions
FROM (
  SELECT
    service,
    resource['service.instance.id'] AS instance,
    attributes['messaging.consumer.group.name'] AS consumers,
    attributes['messaging.destination.name'] AS topic,
    attributes['messaging.destination.partition.id'] AS partition,
    last_value(value ORDER BY time) AS lag
  FROM metrics
  WHERE name = 'kafka.consumer_group.lag' AND time >= $from AND time <= $to
  GROUP BY 1, 2, 3, 4, 5
)
GROUP BY service
