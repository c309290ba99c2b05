-- Moments are milliseconds since 1970, null when it did not happen, or not yet. The sequence beside each is that of the
-- event that told it. Columns up to refunded_at are those of core's view of the same name; the indexes are those of the
-- tables behind it.
CREATE TABLE payment_facts (
    payment_id        TEXT PRIMARY KEY,
    user_id           TEXT NOT NULL,
    amount_minor      BIGINT NOT NULL,
    currency          TEXT NOT NULL,
    created_at        BIGINT NOT NULL,
    captured_at       BIGINT,
    declined_at       BIGINT,
    refunded_at       BIGINT,
    captured_sequence BIGINT,
    declined_sequence BIGINT,
    refunded_sequence BIGINT
);
CREATE INDEX payment_facts_captured ON payment_facts (captured_at) WHERE captured_at IS NOT NULL;
CREATE INDEX payment_facts_declined ON payment_facts (declined_at) WHERE declined_at IS NOT NULL;
CREATE INDEX payment_facts_refunded ON payment_facts (refunded_at) WHERE refunded_at IS NOT NULL;
CREATE INDEX payment_facts_user ON payment_facts (user_id);

CREATE TABLE user_facts (
    event_id TEXT PRIMARY KEY,
    user_id  TEXT NOT NULL,
    kind     TEXT NOT NULL, -- registered | logged_in | profile_updated
    at       BIGINT NOT NULL,
    sequence BIGINT NOT NULL
);
CREATE INDEX user_facts_at ON user_facts (at);
CREATE INDEX user_facts_kind ON user_facts (kind, user_id);
