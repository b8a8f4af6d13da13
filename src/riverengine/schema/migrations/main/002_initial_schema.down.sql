DROP TABLE /* SCHEMA */river_job;
DROP FUNCTION /* SCHEMA */river_job_notify;
DROP TYPE /* SCHEMA */river_job_state;
DROP TABLE /* SCHEMA */river_leader;
