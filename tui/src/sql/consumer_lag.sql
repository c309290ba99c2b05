-- Messages that wait for each consumer on each topic: the newest reading of every partition.
with readings as (
  select
    service as consumer,
    attributes['messaging.destination.name'] as topic,
    attributes['messaging.destination.partition.id'] as partition,
    last_value(value order by time) as waiting
  from metrics
  where time > now() - $window
    and name = 'kafka.consumer_group.lag'
  group by 1, 2, 3
)
select topic, consumer, sum(waiting) as waiting
from readings
where topic is not null
group by topic, consumer
order by topic, consumer
limit 2000
