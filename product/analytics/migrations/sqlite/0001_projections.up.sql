-- `day` is that of UTC as YYYY-MM-DD, sums are in minor units of `currency`.
CREATE TABLE IF NOT EXISTS revenue_by_day (
    day            TEXT NOT NULL,
    currency       TEXT NOT NULL,
    captured_minor INTEGER NOT NULL DEFAULT 0,
    refunded_minor INTEGER NOT NULL DEFAULT 0,
    payments       INTEGER NOT NULL DEFAULT 0, -- captured on that day
    PRIMARY KEY (day, currency)
) WITHOUT ROWID, STRICT;

CREATE TABLE IF NOT EXISTS activity_by_day (
    day             TEXT PRIMARY KEY,
    registrations   INTEGER NOT NULL DEFAULT 0,
    logins          INTEGER NOT NULL DEFAULT 0,
    profile_updates INTEGER NOT NULL DEFAULT 0,
    declines        INTEGER NOT NULL DEFAULT 0,
    active_users    INTEGER NOT NULL DEFAULT 0 -- rows of active_users
) WITHOUT ROWID, STRICT;

CREATE TABLE IF NOT EXISTS active_users (
    day     TEXT NOT NULL,
    user_id TEXT NOT NULL,
    PRIMARY KEY (day, user_id)
) WITHOUT ROWID, STRICT;

CREATE TABLE IF NOT EXISTS payment_facts (
    payment_id   TEXT PRIMARY KEY,
    user_id      TEXT NOT NULL,
    amount_minor INTEGER NOT NULL,
    currency     TEXT NOT NULL,
    created_at   TEXT NOT NULL,
    captured_at  TEXT, -- null when it did not happen, or not yet
    declined_at  TEXT,
    refunded_at  TEXT
) WITHOUT ROWID, STRICT;

-- How often each event of a payment was applied: the evidence that none is lost or counted twice.
CREATE TABLE IF NOT EXISTS applied (
    payment_id TEXT NOT NULL,
    event_type TEXT NOT NULL,
    times      INTEGER NOT NULL,
    PRIMARY KEY (payment_id, event_type)
) WITHOUT ROWID, STRICT;
