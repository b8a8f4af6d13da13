-- One row per client that works jobs; its heartbeats show that its process lives. Not a table of River's.
CREATE TABLE /* SCHEMA */riverengine_client (
    id text PRIMARY KEY,
    incarnation uuid NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    heartbeat_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT riverengine_client_id_length CHECK (char_length(id) > 0 AND char_length(id) <= 128)
) WITH (fillfactor = 50);
