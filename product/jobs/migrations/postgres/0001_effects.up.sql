-- What was done for which event. Also in core's database, where core does the work itself.
CREATE TABLE effects (
    event_id   TEXT NOT NULL,
    effect     TEXT NOT NULL,
    event_type TEXT NOT NULL,
    payment_id TEXT NOT NULL,
    times      BIGINT NOT NULL,
    PRIMARY KEY (event_id, effect)
);
