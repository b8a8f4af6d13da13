-- Only River's SQLite drivers use this table; PostgreSQL has it for an equal schema.
CREATE TABLE /* SCHEMA */river_notification (
    id bigserial PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now(),
    payload text NOT NULL,
    topic text NOT NULL,
    CONSTRAINT topic_length CHECK (length(topic) > 0 AND length(topic) < 128)
);
CREATE INDEX river_notification_created_at_idx ON /* SCHEMA */river_notification (created_at);
CREATE INDEX river_notification_topic_id_idx ON /* SCHEMA */river_notification (topic, id);
DROP TABLE /* SCHEMA */river_client_queue;
DROP TABLE /* SCHEMA */river_client;
ALTER TABLE /* SCHEMA */river_job ALTER COLUMN max_attempts SET DEFAULT 25;
ALTER TABLE /* SCHEMA */river_queue ALTER COLUMN updated_at SET DEFAULT CURRENT_TIMESTAMP;
