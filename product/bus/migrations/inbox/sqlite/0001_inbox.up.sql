CREATE TABLE IF NOT EXISTS inbox (
    consumer TEXT NOT NULL,
    event_id BLOB NOT NULL,
    at_ns INTEGER NOT NULL,
    PRIMARY KEY (consumer, event_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS inbox_at ON inbox (at_ns);

CREATE TABLE IF NOT EXISTS inbox_position (
    consumer TEXT NOT NULL,
    cluster TEXT NOT NULL,
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    -- The offset to read next.
    offset INTEGER NOT NULL,
    PRIMARY KEY (consumer, cluster, topic, partition)
) STRICT, WITHOUT ROWID;
