-- A session is a pair of tokens; all pairs that follow from one login are a family and end together.
ALTER TABLE sessions ADD COLUMN family TEXT;
CREATE INDEX sessions_by_family ON sessions (family);

CREATE TABLE refresh_tokens (
    token_hash BLOB PRIMARY KEY,            -- SHA-256
    user_id    TEXT NOT NULL REFERENCES users (id),
    family     TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at    INTEGER                        -- when the next pair was given for it; a second time means theft
) STRICT, WITHOUT ROWID;
CREATE INDEX refresh_tokens_by_family ON refresh_tokens (family);
CREATE INDEX refresh_tokens_by_end ON refresh_tokens (expires_at);

-- By the hash of the address, whether anybody has an account there or not.
CREATE TABLE login_failures (
    address_hash BLOB PRIMARY KEY,          -- SHA-256
    failures     INTEGER NOT NULL,
    last_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX login_failures_by_age ON login_failures (last_at);

-- Tokens that travel by mail; each comes back once or runs out.
CREATE TABLE verifications (
    token_hash BLOB PRIMARY KEY,            -- SHA-256
    user_id    TEXT NOT NULL REFERENCES users (id),
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX verifications_by_end ON verifications (expires_at);
ALTER TABLE users ADD COLUMN verified_at INTEGER;
