-- The sparklines: requests and p95 of every service in steps of time.
select
  service,
  date_bin($step, time) as step,
  count(*) as requests,
  approx_percentile_cont(duration_ns, 0.95) as p95_ns
from spans
where time > now() - $window
  and kind in ('Server', 'Consumer')
group by 1, 2
order by 2, 1
limit 50000
