SELECT recent.requests, recent.errors, recent.p95_ms, s.spans, l.logs, m.points
FROM (
    SELECT count(*) AS requests,
           count(*) FILTER (WHERE status = 'Error') AS errors,
           approx_percentile_cont(duration_ns, 0.95) / 1e6 AS p95_ms
    FROM spans
    WHERE service = 'core' AND kind = 'Server' AND time > now() - INTERVAL '10 seconds'
) AS recent
CROSS JOIN (SELECT count(*) AS spans FROM spans) AS s
CROSS JOIN (SELECT count(*) AS logs FROM logs) AS l
CROSS JOIN (
    SELECT sum(n) AS points FROM (
        SELECT count(*) AS n FROM metrics
        UNION ALL SELECT count(*) AS n FROM metric_histograms
        UNION ALL SELECT count(*) AS n FROM metric_exponential_histograms
        UNION ALL SELECT count(*) AS n FROM metric_summaries
    )
) AS m
