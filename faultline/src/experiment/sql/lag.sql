-- Events that wait for each service: the last word of each of its instances on each partition, since $from.
SELECT service, sum(lag) AS lag
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
