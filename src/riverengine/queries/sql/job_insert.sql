-- name: job_insert_many
-- One row per array position, returned in that order. Tags hold no commas, so they travel joined.
-- A conflicting row is touched without change, only to be returned; its xmax tells it apart.
INSERT INTO /* SCHEMA */river_job (
    args, created_at, kind, max_attempts, metadata, priority, queue, scheduled_at, state, tags,
    unique_key, unique_states
)
SELECT
    input.args,
    input.created_at,
    input.kind,
    input.max_attempts,
    input.metadata,
    input.priority,
    input.queue,
    input.scheduled_at,
    input.state,
    string_to_array(input.tags, ','),
    input.unique_key,
    input.unique_states::bit(8)
FROM unnest(
    $1::text[]::jsonb[],
    $2::timestamptz[],
    $3::text[],
    $4::smallint[],
    $5::text[]::jsonb[],
    $6::smallint[],
    $7::text[],
    $8::timestamptz[],
    $9::/* SCHEMA */river_job_state[],
    $10::text[],
    $11::bytea[],
    $12::integer[]
) WITH ORDINALITY AS input (
    args, created_at, kind, max_attempts, metadata, priority, queue, scheduled_at, state, tags,
    unique_key, unique_states, position
)
ORDER BY input.position
ON CONFLICT (unique_key)
    WHERE unique_key IS NOT NULL
        AND unique_states IS NOT NULL
        AND /* SCHEMA */river_job_state_in_bitmask(unique_states, state)
    DO UPDATE SET kind = river_job.kind
RETURNING
    id, state, attempt, max_attempts, attempted_at, created_at, finalized_at, scheduled_at,
    priority, args::text, attempted_by, errors::text[], kind, metadata::text, queue, tags,
    unique_key, unique_states,
    (xmax <> 0) AS skipped_as_duplicate;

-- name: job_insert_many_announced
-- The same, and the queues' producers are told of it, in one round trip.
WITH inserted AS (
    INSERT INTO /* SCHEMA */river_job (
        args, created_at, kind, max_attempts, metadata, priority, queue, scheduled_at, state, tags,
        unique_key, unique_states
    )
    SELECT
        input.args,
        input.created_at,
        input.kind,
        input.max_attempts,
        input.metadata,
        input.priority,
        input.queue,
        input.scheduled_at,
        input.state,
        string_to_array(input.tags, ','),
        input.unique_key,
        input.unique_states::bit(8)
    FROM unnest(
        $1::text[]::jsonb[],
        $2::timestamptz[],
        $3::text[],
        $4::smallint[],
        $5::text[]::jsonb[],
        $6::smallint[],
        $7::text[],
        $8::timestamptz[],
        $9::/* SCHEMA */river_job_state[],
        $10::text[],
        $11::bytea[],
        $12::integer[]
    ) WITH ORDINALITY AS input (
        args, created_at, kind, max_attempts, metadata, priority, queue, scheduled_at, state, tags,
        unique_key, unique_states, position
    )
    ORDER BY input.position
    ON CONFLICT (unique_key)
        WHERE unique_key IS NOT NULL
            AND unique_states IS NOT NULL
            AND /* SCHEMA */river_job_state_in_bitmask(unique_states, state)
        DO UPDATE SET kind = river_job.kind
    RETURNING
        id, state, attempt, max_attempts, attempted_at, created_at, finalized_at, scheduled_at,
        priority, args::text, attempted_by, errors::text[], kind, metadata::text, queue, tags,
        unique_key, unique_states,
        (xmax <> 0) AS skipped_as_duplicate
),

announced AS (
    SELECT
        count(pg_notify(concat(coalesce($13::text, current_schema()), '.', $14::text), payload))
    FROM unnest($15::text[]) AS payload
)

SELECT inserted.*
FROM inserted
CROSS JOIN announced;

-- name: job_insert_many_no_returning
-- For drivers without COPY: a held unique key refuses the whole batch.
INSERT INTO /* SCHEMA */river_job (
    args, created_at, kind, max_attempts, metadata, priority, queue, scheduled_at, state, tags,
    unique_key, unique_states
)
SELECT
    input.args,
    input.created_at,
    input.kind,
    input.max_attempts,
    input.metadata,
    input.priority,
    input.queue,
    input.scheduled_at,
    input.state,
    string_to_array(input.tags, ','),
    input.unique_key,
    input.unique_states::bit(8)
FROM unnest(
    $1::text[]::jsonb[],
    $2::timestamptz[],
    $3::text[],
    $4::smallint[],
    $5::text[]::jsonb[],
    $6::smallint[],
    $7::text[],
    $8::timestamptz[],
    $9::/* SCHEMA */river_job_state[],
    $10::text[],
    $11::bytea[],
    $12::integer[]
) WITH ORDINALITY AS input (
    args, created_at, kind, max_attempts, metadata, priority, queue, scheduled_at, state, tags,
    unique_key, unique_states, position
)
ORDER BY input.position;

-- name: job_insert_copy
-- The encoding is that of the rows, whatever the connection's is.
COPY /* SCHEMA */river_job (
    args, created_at, kind, max_attempts, metadata, priority, queue, scheduled_at, state, tags,
    unique_key, unique_states
) FROM STDIN (ENCODING 'UTF8');
