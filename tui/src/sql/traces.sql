-- Traces in which a service took part: picked by its own spans, then measured as a whole.
with picked as (
  select trace_id, max(duration_ns) as longest_ns, max(time) as newest
  from spans
  where time > now() - $window
    and ($from_ms = 0 or (time >= to_timestamp_millis($from_ms) and time < to_timestamp_millis($to_ms)))
    and ($service = '' or service = $service)
    and ($operation = '' or name = $operation)
    and ($order <> 'errors' or status = 'Error')
    and (kind in ('Server', 'Consumer') or parent_span_id is null)
  group by trace_id
  order by case when $order = 'slowest' then longest_ns end desc, newest desc
  limit 200
),
measured as (
  select
    spans.trace_id as trace_id,
    min(spans.time) as started,
    cast(max(spans.end_time) as bigint) - cast(min(spans.time) as bigint) as duration_ns,
    first_value(spans.name order by spans.parent_span_id is not null, spans.time) as root,
    first_value(spans.service order by spans.parent_span_id is not null, spans.time) as root_service,
    count(*) as spans,
    count(distinct spans.service) as services,
    sum(case when spans.status = 'Error' then 1 else 0 end) as errors
  from spans
  join picked on spans.trace_id = picked.trace_id
  where spans.time > now() - $window - interval '1 hour'
  group by spans.trace_id
)
select trace_id, started as time, duration_ns, root, root_service, spans, services, errors
from measured
order by case when $order = 'slowest' then duration_ns end desc, started desc
limit 200
