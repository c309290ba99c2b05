-- What was logged inside one trace.
select
  time,
  span_id,
  service,
  severity_number as severity,
  severity_text,
  body,
  attributes
from logs
where trace_id = $trace
order by time
limit 5000
