CREATE TABLE avatars (
    user_id    TEXT PRIMARY KEY REFERENCES users (id),
    png        BLOB NOT NULL,               -- 128 by 128, made by us
    updated_at INTEGER NOT NULL
) STRICT;
