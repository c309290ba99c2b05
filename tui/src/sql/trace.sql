-- One trace, and the traces its messages link to or come from, span by span.
with around as (
  select *
  from spans
  where time > to_timestamp_millis($around_ms) - interval '1 hour'
    and time < to_timestamp_millis($around_ms) + interval '1 hour'
),
links as (
  select trace_id, unnest(links) as link
  from around
  where cardinality(links) > 0
),
related as (
  select link['trace_id'] as trace_id from links where trace_id = $trace
  union
  select trace_id from links where link['trace_id'] = $trace
)
select
  time, duration_ns, trace_id, span_id, parent_span_id, service, name, kind, status, status_message,
  attributes, resource, events, links
from spans
where trace_id = $trace
  and ($around_ms = 0 or time > to_timestamp_millis($around_ms) - interval '1 hour')
union all
select
  time, duration_ns, trace_id, span_id, parent_span_id, service, name, kind, status, status_message,
  attributes, resource, events, links
from around
where trace_id <> $trace
  and trace_id in (select trace_id from related)
order by time
limit 10000
