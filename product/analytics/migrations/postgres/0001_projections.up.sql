-- `day` is that of UTC as YYYY-MM-DD, sums are in minor units of `currency`.
CREATE TABLE revenue_by_day (
    day            TEXT NOT NULL,
    currency       TEXT NOT NULL,
    captured_minor BIGINT NOT NULL DEFAULT 0,
    refunded_minor BIGINT NOT NULL DEFAULT 0,
    payments       BIGINT NOT NULL DEFAULT 0, -- captured on that day
    PRIMARY KEY (day, currency)
);

CREATE TABLE activity_by_day (
    day             TEXT PRIMARY KEY,
    registrations   BIGINT NOT NULL DEFAULT 0,
    logins          BIGINT NOT NULL DEFAULT 0,
    profile_updates BIGINT NOT NULL DEFAULT 0,
    declines        BIGINT NOT NULL DEFAULT 0,
    active_users    BIGINT NOT NULL DEFAULT 0 -- rows of active_users
);

CREATE TABLE active_users (
    day     TEXT NOT NULL,
    user_id TEXT NOT NULL,
    PRIMARY KEY (day, user_id)
);

CREATE TABLE payment_facts (
    payment_id   TEXT PRIMARY KEY,
    user_id      TEXT NOT NULL,
    amount_minor BIGINT NOT NULL,
    currency     TEXT NOT NULL,
    created_at   TEXT NOT NULL,
    captured_at  TEXT, -- null when it did not happen, or not yet
    declined_at  TEXT,
    refunded_at  TEXT
);

-- How often each event of a payment was applied: the evidence that none is lost or counted twice.
CREATE TABLE applied (
    payment_id TEXT NOT NULL,
    event_type TEXT NOT NULL,
    times      BIGINT NOT NULL,
    PRIMARY KEY (payment_id, event_type)
);
