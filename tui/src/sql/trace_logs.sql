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
where trace_id in ($ids)
  and ($around_ms = 0 or time > to_timestamp_millis($around_ms) - interval '1 hour')
order by time
limit 5000
