-- Who calls whom and who sends messages to whom; see the view `dependencies`. p95 and lag are those of the worst minute.
select
  source,
  target,
  connection,
  coalesce(topic, '') as topic,
  external,
  (cast(now() as bigint) - cast(date_trunc('minute', now() - $window) as bigint)) / 1e9 as seconds,
  sum(requests) as requests,
  sum(errors) as errors,
  max(p95_ns) as p95_ns,
  max(lag_p95_ns) as lag_p95_ns
from dependencies
where time >= date_trunc('minute', now() - $window)
group by source, target, connection, topic, external
order by source, target, topic
limit 2000
