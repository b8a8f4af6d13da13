-- Workflow executions, their steps and their history. Times are instants; context, inputs and
-- outputs are JSON objects. River's own tables come from River's own migrations.
CREATE TABLE workflow_executions (
    workflow_id varchar PRIMARY KEY CHECK (length(workflow_id) BETWEEN 1 AND 100),
    workflow_type varchar NOT NULL CHECK (length(workflow_type) BETWEEN 1 AND 100),
    status varchar NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'running', 'completed', 'failed', 'cancelled')),
    context jsonb NOT NULL DEFAULT '{}'::jsonb CHECK (jsonb_typeof(context) = 'object'),
    started_at timestamptz,
    completed_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    definition_version integer NOT NULL DEFAULT 1 CHECK (definition_version > 0),
    org_id varchar NOT NULL DEFAULT '',
    user_id varchar NOT NULL DEFAULT '',
    idempotency_key varchar CHECK (length(idempotency_key) BETWEEN 1 AND 255),
    queue varchar,
    priority smallint CHECK (priority BETWEEN 1 AND 4),
    error jsonb,
    cancel_requested_at timestamptz,
    CONSTRAINT workflow_executions_idempotency_key UNIQUE (workflow_type, idempotency_key),
    CONSTRAINT workflow_executions_completed_at
        CHECK ((completed_at IS NOT NULL) = (status IN ('completed', 'failed', 'cancelled'))),
    CONSTRAINT workflow_executions_error CHECK (status <> 'failed' OR error IS NOT NULL)
);

CREATE INDEX workflow_executions_status_idx ON workflow_executions (status, updated_at);
CREATE INDEX workflow_executions_created_at_idx ON workflow_executions (created_at, workflow_id);

-- One row per step, made at the start; a step has one job at a time, and runs its attempts there.
CREATE TABLE workflow_steps (
    step_id varchar PRIMARY KEY,
    workflow_id varchar NOT NULL REFERENCES workflow_executions (workflow_id) ON DELETE CASCADE,
    step_name varchar NOT NULL CHECK (length(step_name) BETWEEN 1 AND 100),
    status varchar NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'running', 'retrying', 'waiting', 'completed', 'failed',
                          'cancelled', 'skipped')),
    input_data jsonb,
    output_data jsonb,
    error_message text,
    started_at timestamptz,
    completed_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    position integer NOT NULL CHECK (position >= 0),
    depends_on text[] NOT NULL DEFAULT '{}',
    attempt integer NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    job_id bigint,
    next_attempt_at timestamptz,
    UNIQUE (workflow_id, step_name),
    CONSTRAINT workflow_steps_output CHECK (status <> 'completed' OR output_data IS NOT NULL)
);

CREATE INDEX workflow_steps_unfinished_idx ON workflow_steps (job_id)
    WHERE status IN ('pending', 'running', 'retrying', 'waiting');

-- What happened, in order; rows are only ever added.
CREATE TABLE workflow_events (
    event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workflow_id varchar NOT NULL REFERENCES workflow_executions (workflow_id) ON DELETE CASCADE,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind varchar NOT NULL,
    step_name varchar,
    attempt integer,
    detail jsonb NOT NULL DEFAULT '{}'::jsonb
);

CREATE INDEX workflow_events_workflow_idx ON workflow_events (workflow_id, event_id);

-- Supabase offers every table of this schema over HTTP: without a policy nobody but the owner and
-- service roles reads or writes a row.
ALTER TABLE workflow_executions ENABLE ROW LEVEL SECURITY;
ALTER TABLE workflow_steps ENABLE ROW LEVEL SECURITY;
ALTER TABLE workflow_events ENABLE ROW LEVEL SECURITY;
