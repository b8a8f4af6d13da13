DROP TABLE /* SCHEMA */riverengine_client;
