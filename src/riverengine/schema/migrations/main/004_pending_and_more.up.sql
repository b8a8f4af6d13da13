UPDATE /* SCHEMA */river_job SET args = coalesce(args, '{}'), metadata = coalesce(metadata, '{}')
WHERE args IS NULL OR metadata IS NULL;
ALTER TABLE /* SCHEMA */river_job
    ALTER COLUMN args SET NOT NULL,
    ALTER COLUMN metadata SET DEFAULT '{}',
    ALTER COLUMN metadata SET NOT NULL;
-- Usable only after this transaction: that is why every migration has one of its own.
ALTER TYPE /* SCHEMA */river_job_state ADD VALUE IF NOT EXISTS 'pending' AFTER 'discarded';
ALTER TABLE /* SCHEMA */river_job DROP CONSTRAINT finalized_or_finalized_at_null;
ALTER TABLE /* SCHEMA */river_job ADD CONSTRAINT finalized_or_finalized_at_null CHECK (
    (finalized_at IS NULL AND state NOT IN ('cancelled', 'completed', 'discarded'))
    OR (finalized_at IS NOT NULL AND state IN ('cancelled', 'completed', 'discarded'))
);
DROP TRIGGER river_notify ON /* SCHEMA */river_job;
DROP FUNCTION /* SCHEMA */river_job_notify;
CREATE TABLE /* SCHEMA */river_queue (
    name text PRIMARY KEY NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    metadata jsonb NOT NULL DEFAULT '{}',
    paused_at timestamptz,
    updated_at timestamptz NOT NULL
);
ALTER TABLE /* SCHEMA */river_leader
    ALTER COLUMN name SET DEFAULT 'default',
    DROP CONSTRAINT name_length,
    ADD CONSTRAINT name_length CHECK (name = 'default');
