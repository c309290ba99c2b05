-- One row for each capture and each refund. `day` is that of the event in UTC, as YYYY-MM-DD.
CREATE TABLE settlement_items (
    event_id       TEXT PRIMARY KEY,
    day            TEXT NOT NULL,
    currency       TEXT NOT NULL,
    captured_minor INTEGER NOT NULL,
    refunded_minor INTEGER NOT NULL,
    settled_on     TEXT                -- the day of the settlement it is in; null: in none yet
) WITHOUT ROWID, STRICT;
CREATE INDEX settlement_items_open ON settlement_items (day) WHERE settled_on IS NULL;
CREATE INDEX settlement_items_settled ON settlement_items (settled_on) WHERE settled_on IS NOT NULL;

CREATE TABLE settlements (
    day            TEXT NOT NULL,
    currency       TEXT NOT NULL,
    captured_minor INTEGER NOT NULL,
    refunded_minor INTEGER NOT NULL,
    items          INTEGER NOT NULL,
    PRIMARY KEY (day, currency)
) WITHOUT ROWID, STRICT;
