-- No money has moved for them; the authorization runs out at the acquirer.
UPDATE payments SET status = 'declined' WHERE status IN ('authorized', 'capturing');
DROP INDEX payments_authorized;
PRAGMA writable_schema = ON;
UPDATE sqlite_schema
SET sql = replace(sql, '''pending'', ''authorized'', ''capturing'', ''captured''', '''pending'', ''captured''')
WHERE type = 'table' AND name = 'payments';
PRAGMA writable_schema = RESET;
