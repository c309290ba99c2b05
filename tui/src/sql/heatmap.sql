-- Requests by latency over time: bucket b counts durations from 2^(b/8) up to 2^((b+1)/8) nanoseconds.
select
  date_bin($step, time) as step,
  cast(floor(8 * log2(greatest(duration_ns, 1))) as bigint) as bucket,
  count(*) as requests,
  sum(case when status = 'Error' then 1 else 0 end) as errors
from spans
where time > now() - $window
  and service = $service
  and ($operation = '' or name = $operation)
  and kind in ('Server', 'Consumer')
group by 1, 2
order by 1, 2
limit 100000
