-- Traces tied to one trace by messages: those its spans link to, and those whose consumers link to it.
select distinct trace_id
from (
  select link['trace_id'] as trace_id
  from (
    select unnest(links) as link
    from spans
    where trace_id = $trace
      and time > to_timestamp_millis($around_ms) - interval '1 hour'
  )
  union all
  select trace_id
  from (
    select trace_id, unnest(links) as link
    from spans
    where kind = 'Consumer'
      and time > to_timestamp_millis($around_ms) - interval '1 minute'
      and time < to_timestamp_millis($around_ms) + interval '15 minutes'
  )
  where link['trace_id'] = $trace
)
where trace_id <> $trace
order by trace_id
limit 20
