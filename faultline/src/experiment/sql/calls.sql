-- Work of the product that is counted: calls to databases, password hashes.
SELECT
  coalesce(sum(CASE WHEN attributes['db.system.name'] IS NOT NULL THEN 1 ELSE 0 END), 0) AS database,
  coalesce(sum(CASE WHEN name = 'argon2id' THEN 1 ELSE 0 END), 0) AS hashes
FROM spans
WHERE service IN ('core', 'jobs', 'analytics') AND time >= $from AND time <= $to
