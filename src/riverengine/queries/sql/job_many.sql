-- fragment: job_filters
-- Lines marked "if" are options. The caller's own conditions follow, each in parentheses.
    AND id = ANY ($2::bigint[]) -- if: ids
    AND kind = ANY ($3::text[]) -- if: kinds
    AND priority = ANY ($4::smallint[]) -- if: priorities
    AND queue = ANY ($5::text[]) -- if: queues
    AND state = ANY ($6::text[]::/* SCHEMA */river_job_state[]) -- if: states
    AND state = $7::text::/* SCHEMA */river_job_state -- if: state
    AND tags @> $8::varchar[] -- if: tags_all
    AND tags && $9::varchar[] -- if: tags_any
    AND metadata @> $10::text::jsonb -- if: metadata
    AND args @> $11::text::jsonb -- if: args
    /* WHERE */

-- fragment: job_after
-- Row comparisons stand for "later, or as late and behind the id": they let an index start there.
    AND id > $12::bigint -- if: after_id_asc
    AND id < $12::bigint -- if: after_id_desc
    AND (attempted_at IS NULL AND id > $12::bigint) -- if: after_null_attempted_at_asc
    AND (attempted_at IS NOT NULL OR id < $12::bigint) -- if: after_null_attempted_at_desc
    AND (finalized_at IS NULL AND id > $12::bigint) -- if: after_null_finalized_at_asc
    AND (finalized_at IS NOT NULL OR id < $12::bigint) -- if: after_null_finalized_at_desc
    AND ((attempted_at, id) > ($13::timestamptz, $12::bigint) OR attempted_at IS NULL) -- if: after_attempted_at_asc
    AND (attempted_at, id) < ($13::timestamptz, $12::bigint) -- if: after_attempted_at_desc
    AND ((finalized_at, id) > ($13::timestamptz, $12::bigint) OR finalized_at IS NULL) -- if: after_nullable_finalized_at_asc
    AND (finalized_at, id) > ($13::timestamptz, $12::bigint) -- if: after_finalized_at_asc
    AND (finalized_at, id) < ($13::timestamptz, $12::bigint) -- if: after_finalized_at_desc
    AND (scheduled_at, id) > ($13::timestamptz, $12::bigint) -- if: after_scheduled_at_asc
    AND (scheduled_at, id) < ($13::timestamptz, $12::bigint) -- if: after_scheduled_at_desc

-- fragment: job_order
ORDER BY
    attempted_at ASC NULLS LAST, -- if: attempted_at_asc
    attempted_at DESC NULLS FIRST, -- if: attempted_at_desc
    finalized_at ASC NULLS LAST, -- if: finalized_at_asc
    finalized_at DESC NULLS FIRST, -- if: finalized_at_desc
    scheduled_at ASC NULLS LAST, -- if: scheduled_at_asc
    scheduled_at DESC NULLS FIRST, -- if: scheduled_at_desc
    id DESC, -- if: id_desc
    id ASC

-- name: job_list
-- One state by equality lets an index of (state, time) deliver the order.
SELECT
    id, state, attempt, max_attempts, attempted_at, created_at, finalized_at, scheduled_at,
    priority, args::text, attempted_by, errors::text[], kind, metadata::text, queue, tags,
    unique_key, unique_states
FROM /* SCHEMA */river_job
WHERE TRUE
    /* FRAGMENT job_filters */
    AND finalized_at IS NOT NULL -- if: finalized
    /* FRAGMENT job_after */
/* FRAGMENT job_order */
LIMIT $1::integer;

-- name: job_list_final
-- Of several final states, by the time they ended: a page of each from its part of the index, and
-- the page of them all from these.
SELECT
    id, state, attempt, max_attempts, attempted_at, created_at, finalized_at, scheduled_at,
    priority, args::text, attempted_by, errors::text[], kind, metadata::text, queue, tags,
    unique_key, unique_states
FROM /* SCHEMA */river_job
WHERE id = ANY (ARRAY(
    SELECT listed.id
    FROM unnest($6::text[]::/* SCHEMA */river_job_state[]) AS final (state)
    CROSS JOIN LATERAL (
        SELECT id
        FROM /* SCHEMA */river_job
        WHERE river_job.state = final.state
            AND finalized_at IS NOT NULL
            /* FRAGMENT job_filters */
            /* FRAGMENT job_after */
        /* FRAGMENT job_order */
        LIMIT $1::integer
    ) AS listed
))
/* FRAGMENT job_order */
LIMIT $1::integer;

-- name: job_list_scheduled
-- By the time they are due, of states and queues (null: of all): a page of each state, queue and
-- priority from its part of the fetching index, and the page of them all from these. Queues that were
-- not named are found by index, from each on to the next one.
SELECT
    id, state, attempt, max_attempts, attempted_at, created_at, finalized_at, scheduled_at,
    priority, args::text, attempted_by, errors::text[], kind, metadata::text, queue, tags,
    unique_key, unique_states
FROM /* SCHEMA */river_job
WHERE id = ANY (ARRAY(
    SELECT listed.id
    FROM (
        SELECT DISTINCT
            unnest(
                coalesce(
                    $6::text[]::/* SCHEMA */river_job_state[],
                    enum_range(NULL::/* SCHEMA */river_job_state)
                )
            ) AS state
    ) AS chosen
    CROSS JOIN LATERAL (
        WITH RECURSIVE found AS (
            (
                SELECT queue
                FROM /* SCHEMA */river_job
                WHERE $5::text[] IS NULL AND river_job.state = chosen.state
                ORDER BY queue
                LIMIT 1
            )
            UNION ALL
            SELECT (
                SELECT job.queue
                FROM /* SCHEMA */river_job AS job
                WHERE job.state = chosen.state AND job.queue > found.queue
                ORDER BY job.queue
                LIMIT 1
            )
            FROM found
            WHERE found.queue IS NOT NULL
        )

        SELECT queue FROM found WHERE queue IS NOT NULL
        UNION
        SELECT unnest($5::text[])
    ) AS part (queue)
    CROSS JOIN generate_series(1, 4) AS priorities (priority)
    CROSS JOIN LATERAL (
        SELECT id, scheduled_at
        FROM /* SCHEMA */river_job
        WHERE river_job.state = chosen.state
            AND river_job.queue = part.queue
            AND river_job.priority = priorities.priority::smallint
            /* FRAGMENT job_filters */
            /* FRAGMENT job_after */
        /* FRAGMENT job_order */
        LIMIT $1::integer
    ) AS listed
    ORDER BY
        listed.scheduled_at ASC, -- if: scheduled_at_asc
        listed.scheduled_at DESC, -- if: scheduled_at_desc
        listed.id DESC, -- if: id_desc
        listed.id ASC
    LIMIT $1::integer
))
/* FRAGMENT job_order */
LIMIT $1::integer;

-- name: job_count
-- A null limit counts them all.
SELECT count(*)
FROM (
    SELECT 1
    FROM /* SCHEMA */river_job
    WHERE TRUE
        /* FRAGMENT job_filters */
    LIMIT $1::bigint
) AS counted;

-- name: job_delete_many
-- Rows locked by somebody else are left out, never waited for.
WITH chosen AS (
    SELECT id
    FROM /* SCHEMA */river_job
    WHERE state <> 'running'
        /* FRAGMENT job_filters */
        AND id > $12::bigint -- if: after_id
    ORDER BY id
    LIMIT $1::integer
    FOR UPDATE
    SKIP LOCKED
),

deleted AS (
    DELETE FROM /* SCHEMA */river_job AS job
    -- An array, not a join: the rows are looked up by id, however many they are.
    WHERE job.id = ANY (ARRAY(SELECT chosen.id FROM chosen))
    RETURNING
        job.id, job.state, job.attempt, job.max_attempts, job.attempted_at, job.created_at,
        job.finalized_at, job.scheduled_at, job.priority, job.args, job.attempted_by, job.errors,
        job.kind, job.metadata, job.queue, job.tags, job.unique_key, job.unique_states
)

SELECT
    id, state, attempt, max_attempts, attempted_at, created_at, finalized_at, scheduled_at,
    priority, args::text, attempted_by, errors::text[], kind, metadata::text, queue, tags,
    unique_key, unique_states
FROM deleted
ORDER BY id;

-- name: job_cancel_many
-- Waiting jobs are cancelled here; running ones by their clients, which are told. A locked row is
-- waited for: a job whose cancellation was asked for must not slip through.
WITH chosen AS (
    SELECT id, queue, state
    FROM /* SCHEMA */river_job
    WHERE state IN ('available', 'pending', 'retryable', 'running', 'scheduled')
        AND finalized_at IS NULL
        /* FRAGMENT job_filters */
        AND id > $12::bigint -- if: after_id
    ORDER BY id
    LIMIT $1::integer
    FOR UPDATE
),

told AS (
    SELECT
        pg_notify(
            concat(coalesce($13::text, current_schema()), '.', $14::text),
            json_build_object('action', 'cancel', 'job_id', id, 'queue', queue)::text
        )
    FROM chosen
    WHERE state = 'running'
),

cancelled AS (
    UPDATE /* SCHEMA */river_job AS job
    SET
        state = CASE WHEN job.state = 'running' THEN job.state ELSE 'cancelled' END,
        finalized_at = CASE WHEN job.state = 'running' THEN job.finalized_at ELSE now() END,
        metadata = jsonb_set(job.metadata, '{cancel_attempted_at}', $15::text::jsonb, TRUE)
    -- The count makes the messages part of the statement: a query nobody reads does not run.
    WHERE job.id = ANY (ARRAY(SELECT chosen.id FROM chosen)) AND (SELECT count(*) FROM told) >= 0
    RETURNING
        job.id, job.state, job.attempt, job.max_attempts, job.attempted_at, job.created_at,
        job.finalized_at, job.scheduled_at, job.priority, job.args, job.attempted_by, job.errors,
        job.kind, job.metadata, job.queue, job.tags, job.unique_key, job.unique_states
)

SELECT
    id, state, attempt, max_attempts, attempted_at, created_at, finalized_at, scheduled_at,
    priority, args::text, attempted_by, errors::text[], kind, metadata::text, queue, tags,
    unique_key, unique_states
FROM cancelled
ORDER BY id;

-- name: job_retry_many
-- A job whose unique key another one holds, or one before it in this batch will hold, stays as it
-- is. Those that hold their key themselves keep it.
WITH chosen AS (
    SELECT
        id,
        unique_key,
        /* SCHEMA */river_job_state_in_bitmask(unique_states, 'available')
        AND NOT /* SCHEMA */river_job_state_in_bitmask(unique_states, state) AS takes_key
    FROM /* SCHEMA */river_job
    WHERE state <> 'running'
        AND NOT (state = 'available' AND scheduled_at < now())
        /* FRAGMENT job_filters */
        AND id > $12::bigint -- if: after_id
    ORDER BY id
    LIMIT $1::integer
    FOR UPDATE
),

judged AS (
    SELECT
        id,
        coalesce(takes_key, FALSE)
        AND unique_key IS NOT NULL
        AND (
            row_number() OVER (PARTITION BY unique_key, takes_key ORDER BY id) > 1
            OR EXISTS (
                SELECT 1
                FROM /* SCHEMA */river_job AS holder
                WHERE holder.unique_key = chosen.unique_key
                    AND holder.id <> chosen.id
                    AND holder.unique_states IS NOT NULL
                    AND /* SCHEMA */river_job_state_in_bitmask(holder.unique_states, holder.state)
            )
        ) AS is_conflict
    FROM chosen
),

retried AS (
    UPDATE /* SCHEMA */river_job AS job
    SET
        state = 'available',
        max_attempts = CASE
            WHEN job.attempt = job.max_attempts THEN job.max_attempts + 1 ELSE job.max_attempts
        END,
        finalized_at = NULL,
        scheduled_at = now(),
        metadata = job.metadata - 'cancel_attempted_at'
    WHERE job.id = ANY (ARRAY(SELECT judged.id FROM judged WHERE NOT judged.is_conflict))
    RETURNING
        job.id, job.state, job.attempt, job.max_attempts, job.attempted_at, job.created_at,
        job.finalized_at, job.scheduled_at, job.priority, job.args, job.attempted_by, job.errors,
        job.kind, job.metadata, job.queue, job.tags, job.unique_key, job.unique_states
)

SELECT
    FALSE AS is_conflict,
    id, state, attempt, max_attempts, attempted_at, created_at, finalized_at, scheduled_at,
    priority, args::text, attempted_by, errors::text[], kind, metadata::text, queue, tags,
    unique_key, unique_states
FROM retried
UNION ALL
SELECT
    TRUE AS is_conflict,
    job.id, job.state, job.attempt, job.max_attempts, job.attempted_at, job.created_at,
    job.finalized_at, job.scheduled_at, job.priority, job.args::text, job.attempted_by,
    job.errors::text[], job.kind, job.metadata::text, job.queue, job.tags, job.unique_key, job.unique_states
FROM /* SCHEMA */river_job AS job
WHERE job.id = ANY (ARRAY(SELECT judged.id FROM judged WHERE judged.is_conflict))
ORDER BY id;
