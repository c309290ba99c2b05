CREATE TABLE avatars (
    user_id    TEXT PRIMARY KEY REFERENCES users (id),
    png        BYTEA NOT NULL,               -- 128 by 128, made by us
    updated_at BIGINT NOT NULL
);
