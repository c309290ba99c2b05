-- Services by what they answered: rate, error share and latency of their Server and Consumer spans.
select
  service,
  count(*) as requests,
  sum(case when status = 'Error' then 1 else 0 end) as errors,
  approx_percentile_cont(duration_ns, 0.50) as p50_ns,
  approx_percentile_cont(duration_ns, 0.95) as p95_ns,
  approx_percentile_cont(duration_ns, 0.99) as p99_ns
from spans
where time > now() - $window
  and kind in ('Server', 'Consumer')
group by service
order by service
limit 500
