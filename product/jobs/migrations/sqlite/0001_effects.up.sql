-- What was done for which event. Also in core's database, where core does the work itself.
CREATE TABLE IF NOT EXISTS effects (
    event_id   TEXT NOT NULL,
    effect     TEXT NOT NULL,
    event_type TEXT NOT NULL,
    payment_id TEXT NOT NULL,
    times      INTEGER NOT NULL,
    PRIMARY KEY (event_id, effect)
) WITHOUT ROWID, STRICT;
