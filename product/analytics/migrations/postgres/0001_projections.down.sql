DROP TABLE applied;
DROP TABLE payment_facts;
DROP TABLE active_users;
DROP TABLE activity_by_day;
DROP TABLE revenue_by_day;
