-- One trace span by span, with the traces its messages lead to.
select
  time, duration_ns, trace_id, span_id, parent_span_id, service, name, kind, status, status_message,
  attributes, resource, events, links
from spans
where trace_id in ($ids)
  and ($around_ms = 0 or time > to_timestamp_millis($around_ms) - interval '1 hour')
order by time
limit 10000
