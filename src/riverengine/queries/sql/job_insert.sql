-- fragment: columns
args, created_at, kind, max_attempts, metadata, priority, queue, scheduled_at, state, tags,
        unique_key, unique_states

-- fragment: values
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

-- fragment: rows
-- One per array position. Tags hold no commas, so they travel joined.
    unnest(
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

-- fragment: row
-- A job by itself travels as plain values: arrays of one cost client and server a quarter more.
    (
        SELECT
            $1::text::jsonb AS args,
            $2::timestamptz AS created_at,
            $3::text AS kind,
            $4::smallint AS max_attempts,
            $5::text::jsonb AS metadata,
            $6::smallint AS priority,
            $7::text AS queue,
            $8::timestamptz AS scheduled_at,
            $9::/* SCHEMA */river_job_state AS state,
            $10::text AS tags,
            $11::bytea AS unique_key,
            $12::integer AS unique_states
    ) AS input

-- fragment: returning
-- A conflicting row is touched without change, only to be returned; its xmax tells it apart.
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

-- fragment: announced
-- The queues' producers are told in the same round trip.
announced AS (
    SELECT
        count(pg_notify(concat(coalesce($13::text, current_schema()), '.', $14::text), payload))
    FROM unnest($15::text[]) AS payload
)

SELECT inserted.*
FROM inserted
CROSS JOIN announced

-- name: job_insert
INSERT INTO /* SCHEMA */river_job (
    /* FRAGMENT columns */
)
SELECT
    /* FRAGMENT values */
FROM
/* FRAGMENT row */
/* FRAGMENT returning */;

-- name: job_insert_announced
WITH inserted AS (
    INSERT INTO /* SCHEMA */river_job (
        /* FRAGMENT columns */
    )
    SELECT
        /* FRAGMENT values */
    FROM
    /* FRAGMENT row */
    /* FRAGMENT returning */
),

/* FRAGMENT announced */;

-- name: job_insert_many
-- Rows are inserted and returned in the order given.
INSERT INTO /* SCHEMA */river_job (
    /* FRAGMENT columns */
)
SELECT
    /* FRAGMENT values */
FROM
/* FRAGMENT rows */
ORDER BY input.position
/* FRAGMENT returning */;

-- name: job_insert_many_announced
WITH inserted AS (
    INSERT INTO /* SCHEMA */river_job (
        /* FRAGMENT columns */
    )
    SELECT
        /* FRAGMENT values */
    FROM
    /* FRAGMENT rows */
    ORDER BY input.position
    /* FRAGMENT returning */
),

/* FRAGMENT announced */;

-- name: job_insert_many_unique
-- Rows are written and returned in the order of their unique keys, so that batches never wait for
-- each other's keys crosswise. Their ids keep the order given.
WITH inserted AS (
    INSERT INTO /* SCHEMA */river_job (
        id,
        /* FRAGMENT columns */
    )
    SELECT
        input.id,
        /* FRAGMENT values */
    FROM (
        SELECT
            nextval('/* SCHEMA */river_job_id_seq'::regclass) AS id,
            input.*
        FROM
        /* FRAGMENT rows */
    ) AS input
    ORDER BY input.unique_key, input.position
    /* FRAGMENT returning */
),

/* FRAGMENT announced */;

-- name: job_insert_many_no_returning
-- For drivers without COPY: a held unique key refuses the whole batch.
INSERT INTO /* SCHEMA */river_job (
    /* FRAGMENT columns */
)
SELECT
    /* FRAGMENT values */
FROM
/* FRAGMENT rows */
ORDER BY input.position;

-- name: job_insert_copy
-- The encoding is that of the rows, whatever the connection's is.
COPY /* SCHEMA */river_job (
    /* FRAGMENT columns */
) FROM STDIN (ENCODING 'UTF8');
