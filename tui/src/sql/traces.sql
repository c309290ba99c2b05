-- Traces in which a service took part: picked by its own spans, then measured as a whole.
with picked as (
  select trace_id
  from spans
  where time > now() - $window
    and ($from_ms = 0 or (time >= to_timestamp_millis($from_ms) and time < to_timestamp_millis($to_ms)))
    and ($service = '' or service = $service)
    and ($operation = '' or name = $operation)
    and ($order <> 'errors' or status = 'Error')
    and (kind in ('Server', 'Consumer') or parent_span_id is null)
  group by trace_id
  order by
    case when $order = 'slowest' then max(duration_ns) end desc,
    max(time) desc
  limit 200
)
select
  spans.trace_id,
  min(spans.time) as time,
  max(cast(spans.end_time as bigint)) - min(cast(spans.time as bigint)) as duration_ns,
  first_value(spans.name order by spans.parent_span_id is not null, spans.time) as root,
  first_value(spans.service order by spans.parent_span_id is not null, spans.time) as root_service,
  count(*) as spans,
  count(distinct spans.service) as services,
  sum(case when spans.status = 'Error' then 1 else 0 end) as errors
from spans
join picked on spans.trace_id = picked.trace_id
where spans.time > now() - $window - interval '1 hour'
group by spans.trace_id
order by
  case when $order = 'slowest' then max(cast(spans.end_time as bigint)) - min(cast(spans.time as bigint)) end desc,
  min(spans.time) desc
limit 200
