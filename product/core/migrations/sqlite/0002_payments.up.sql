-- pending -> captured | declined, by the acquirer's answer; captured -> refunding -> refunded.
-- The card token is not kept: a retry of the request brings it again.
CREATE TABLE payments (
    id           TEXT PRIMARY KEY,           -- UUIDv7, so the order of ids is the order of creation
    user_id      TEXT NOT NULL REFERENCES users (id),
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    currency     TEXT NOT NULL,
    description  TEXT NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('pending', 'captured', 'declined', 'refunding', 'refunded')),
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL
) STRICT;

CREATE INDEX payments_by_user ON payments (user_id, id);

-- What was asked with a key and what was answered. `response` is null until there is an answer;
-- until `lease_until` one request is at work on it, after that a retry may resume.
CREATE TABLE idempotency_keys (
    user_id      TEXT NOT NULL REFERENCES users (id),
    key          TEXT NOT NULL,
    request_hash BLOB NOT NULL,
    payment_id   TEXT NOT NULL REFERENCES payments (id),
    lease_until  INTEGER NOT NULL,
    response     TEXT,
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (user_id, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
