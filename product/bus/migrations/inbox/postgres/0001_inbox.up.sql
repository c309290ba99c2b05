CREATE TABLE inbox (
    consumer TEXT NOT NULL,
    event_id BYTEA NOT NULL,
    at_ns BIGINT NOT NULL,
    PRIMARY KEY (consumer, event_id)
);

CREATE INDEX inbox_at ON inbox (at_ns);

CREATE TABLE inbox_position (
    consumer TEXT NOT NULL,
    cluster TEXT NOT NULL,
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    -- The offset to read next.
    "offset" BIGINT NOT NULL,
    PRIMARY KEY (consumer, cluster, topic, partition)
);
