CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id BLOB NOT NULL,
    topic TEXT NOT NULL,
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    version INTEGER NOT NULL,
    time_ns INTEGER NOT NULL,
    data TEXT NOT NULL,
    traceparent TEXT,
    tracestate TEXT,
    created_ns INTEGER NOT NULL,
    -- Where it was published last; null: never.
    cluster TEXT,
    partition INTEGER,
    offset INTEGER,
    -- Context of the span that sent it first: whoever processes it is that span's child.
    sent_traceparent TEXT,
    sent_tracestate TEXT
) STRICT;

CREATE TABLE IF NOT EXISTS outbox_cursor (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    cluster TEXT NOT NULL,
    -- Everything up to this id is in the cluster's log.
    id INTEGER NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS outbox_end (
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    -- One past the last offset we got: a log that ends before it has lost something.
    offset INTEGER NOT NULL,
    PRIMARY KEY (topic, partition)
) STRICT;
