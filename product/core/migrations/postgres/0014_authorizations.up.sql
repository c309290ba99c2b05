-- pending -> authorized | captured | declined; authorized -> capturing -> captured -> refunding -> refunded.
ALTER TABLE payments DROP CONSTRAINT payments_status_check;
ALTER TABLE payments ADD CONSTRAINT payments_status_check CHECK
    (status IN ('pending', 'authorized', 'capturing', 'captured', 'declined', 'refunding', 'refunded'));
-- Payments that wait for a capture.
CREATE INDEX payments_authorized ON payments (created_at) WHERE status IN ('authorized', 'capturing');
