DROP TABLE user_facts;
DROP TABLE payment_facts;
