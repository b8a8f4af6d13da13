-- The enum keeps 'pending': PostgreSQL cannot remove a label.
ALTER TABLE /* SCHEMA */river_job
    ALTER COLUMN args DROP NOT NULL,
    ALTER COLUMN metadata DROP NOT NULL,
    ALTER COLUMN metadata DROP DEFAULT;
ALTER TABLE /* SCHEMA */river_job DROP CONSTRAINT finalized_or_finalized_at_null;
ALTER TABLE /* SCHEMA */river_job ADD CONSTRAINT finalized_or_finalized_at_null CHECK (
    (state IN ('cancelled', 'completed', 'discarded') AND finalized_at IS NOT NULL)
    OR finalized_at IS NULL
);
-- The body is kept to the letter: the stored function must equal Go River's.
CREATE OR REPLACE FUNCTION /* SCHEMA */river_job_notify() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  payload json;
BEGIN
  IF NEW.state = 'available' THEN
    -- Notify will coalesce duplicate notifications within a transaction, so
    -- keep these payloads generalized:
    payload = json_build_object('queue', NEW.queue);
    PERFORM
      pg_notify('river_insert', payload::text);
  END IF;
  RETURN NULL;
END;
$$;
CREATE TRIGGER river_notify AFTER INSERT ON /* SCHEMA */river_job
    FOR EACH ROW EXECUTE FUNCTION /* SCHEMA */river_job_notify();
DROP TABLE /* SCHEMA */river_queue;
ALTER TABLE /* SCHEMA */river_leader
    ALTER COLUMN name DROP DEFAULT,
    DROP CONSTRAINT name_length,
    ADD CONSTRAINT name_length CHECK (char_length(name) > 0 AND char_length(name) < 128);
