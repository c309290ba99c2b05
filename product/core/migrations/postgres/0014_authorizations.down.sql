-- No money has moved for them; the authorization runs out at the acquirer.
UPDATE payments SET status = 'declined' WHERE status IN ('authorized', 'capturing');
DROP INDEX payments_authorized;
ALTER TABLE payments DROP CONSTRAINT payments_status_check;
ALTER TABLE payments ADD CONSTRAINT payments_status_check CHECK
    (status IN ('pending', 'captured', 'declined', 'refunding', 'refunded'));
