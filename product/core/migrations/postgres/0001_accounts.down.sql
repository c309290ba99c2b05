DROP TABLE sessions;
DROP TABLE profiles;
DROP TABLE users;
