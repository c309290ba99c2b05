-- What one service answers: its operations with rate, error share and latency.
select
  name,
  kind,
  count(*) as requests,
  sum(case when status = 'Error' then 1 else 0 end) as errors,
  approx_percentile_cont(duration_ns, 0.50) as p50_ns,
  approx_percentile_cont(duration_ns, 0.95) as p95_ns,
  approx_percentile_cont(duration_ns, 0.99) as p99_ns
from spans
where time > now() - $window
  and service = $service
  and kind in ('Server', 'Consumer')
group by name, kind
order by requests desc, name
limit 500
