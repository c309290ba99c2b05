-- One row for each capture and each refund. `day` is that of the event in UTC, as YYYY-MM-DD.
CREATE TABLE settlement_items (
    event_id       TEXT PRIMARY KEY,
    day            TEXT NOT NULL,
    currency       TEXT NOT NULL,
    captured_minor BIGINT NOT NULL,
    refunded_minor BIGINT NOT NULL,
    settled_on     TEXT                -- the day of the settlement it is in; null: in none yet
);
CREATE INDEX settlement_items_open ON settlement_items (day) WHERE settled_on IS NULL;
CREATE INDEX settlement_items_settled ON settlement_items (settled_on) WHERE settled_on IS NOT NULL;

CREATE TABLE settlements (
    day            TEXT NOT NULL,
    currency       TEXT NOT NULL,
    captured_minor BIGINT NOT NULL,
    refunded_minor BIGINT NOT NULL,
    items          BIGINT NOT NULL,
    PRIMARY KEY (day, currency)
);
