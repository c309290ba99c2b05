ALTER TABLE users DROP COLUMN verified_at;
DROP TABLE verifications;
DROP TABLE login_failures;
DROP TABLE refresh_tokens;
DROP INDEX sessions_by_family;
ALTER TABLE sessions DROP COLUMN family;
