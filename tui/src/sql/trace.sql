-- One trace and the traces its messages link to or come from, span by span.
with linking as (
  select trace_id, unnest(links) as link
  from spans
  where time > to_timestamp_millis($around_ms) - interval '1 hour'
    and time < to_timestamp_millis($around_ms) + interval '1 hour'
    and cardinality(links) > 0
),
related as (
  select link['trace_id'] as trace_id from linking where trace_id = $trace
  union
  select trace_id from linking where link['trace_id'] = $trace
)
select
  time, duration_ns, trace_id, span_id, parent_span_id, service, name, kind, status, status_message,
  attributes, resource, events, links
from spans
where trace_id = $trace or trace_id in (select trace_id from related)
order by time
limit 10000
