-- Double entry: the amounts of one (payment, movement) sum to zero.
CREATE TABLE ledger_entries (
    payment_id   TEXT NOT NULL REFERENCES payments (id),
    movement     TEXT NOT NULL CHECK (movement IN ('capture', 'refund')),
    account      TEXT NOT NULL CHECK (account IN ('acquirer', 'merchant', 'refunds')),
    amount_minor BIGINT NOT NULL,            -- positive is what enters the account
    currency     TEXT NOT NULL,
    at           BIGINT NOT NULL,
    PRIMARY KEY (payment_id, movement, account)
);

-- Payments of the time before the ledger.
INSERT INTO ledger_entries (payment_id, movement, account, amount_minor, currency, at)
SELECT id, 'capture', 'merchant', -amount_minor, currency, updated_at FROM payments WHERE status IN ('captured', 'refunding', 'refunded')
UNION ALL
SELECT id, 'capture', 'acquirer', amount_minor, currency, updated_at FROM payments WHERE status IN ('captured', 'refunding', 'refunded')
UNION ALL
SELECT id, 'refund', 'acquirer', -amount_minor, currency, updated_at FROM payments WHERE status = 'refunded'
UNION ALL
SELECT id, 'refund', 'refunds', amount_minor, currency, updated_at FROM payments WHERE status = 'refunded';
