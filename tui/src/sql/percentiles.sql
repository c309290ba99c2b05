-- The lines over the heatmap: percentiles of latency in the same steps of time.
select
  date_bin($step, time) as step,
  count(*) as requests,
  approx_percentile_cont(duration_ns, 0.50) as p50_ns,
  approx_percentile_cont(duration_ns, 0.95) as p95_ns,
  approx_percentile_cont(duration_ns, 0.99) as p99_ns
from spans
where time > now() - $window
  and service = $service
  and ($operation = '' or name = $operation)
  and kind in ('Server', 'Consumer')
group by 1
order by 1
limit 10000
