-- pending -> authorized | captured | declined; authorized -> capturing -> captured -> refunding -> refunded.
-- SQLite alters no CHECK. This is the way its documentation gives for it (lang_altertable, "other kinds of table
-- schema changes"): the constraint only gets wider, so every row still meets it.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema
SET sql = replace(sql, '''pending'', ''captured''', '''pending'', ''authorized'', ''capturing'', ''captured''')
WHERE type = 'table' AND name = 'payments';
PRAGMA writable_schema = RESET;
-- Payments that wait for a capture. Creating it also tells the other connections that the schema has changed.
CREATE INDEX payments_authorized ON payments (created_at) WHERE status IN ('authorized', 'capturing');
