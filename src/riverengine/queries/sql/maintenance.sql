-- Statements of the leader's services. Horizons are the database's time minus an interval, and every
-- statement is safe while two clients believe they lead.

-- name: database_horizon
SELECT now() AS now, now() - $1::interval AS horizon;

-- name: job_schedule
WITH due AS (
    SELECT
        job.id,
        job.unique_key,
        job.priority,
        job.scheduled_at,
        job.unique_key IS NOT NULL AND job.unique_states IS NOT NULL AS is_unique,
        coalesce(/* SCHEMA */river_job_state_in_bitmask(job.unique_states, job.state), false)
            AS holds_key
    FROM /* SCHEMA */river_job AS job
    WHERE job.state IN ('retryable', 'scheduled')
        -- Bounds that are not known beforehand: of all jobs together most are past their time, for
        -- which PostgreSQL would rather read the whole table.
        AND job.scheduled_at BETWEEN (SELECT '-infinity'::timestamptz)
            AND (SELECT now() + $1::interval)
        AND (
            $4::boolean IS NULL
            OR $4::boolean = (
                job.unique_key IS NOT NULL
                AND job.unique_states IS NOT NULL
                AND NOT coalesce(
                    /* SCHEMA */river_job_state_in_bitmask(job.unique_states, job.state), false
                )
            )
        )
    ORDER BY job.priority, job.scheduled_at, job.id
    LIMIT $2::bigint
    FOR UPDATE SKIP LOCKED
), ranked AS (
    SELECT
        due.id,
        due.is_unique AND (
            row_number() OVER (
                PARTITION BY due.unique_key
                ORDER BY due.holds_key DESC, due.priority, due.scheduled_at, due.id
            ) > 1
            OR EXISTS (
                SELECT 1
                FROM /* SCHEMA */river_job AS holder
                WHERE holder.unique_key = due.unique_key
                    AND holder.unique_states IS NOT NULL
                    AND holder.id <> due.id
                    AND /* SCHEMA */river_job_state_in_bitmask(holder.unique_states, holder.state)
            )
        ) AS conflicts
    FROM due
)
UPDATE /* SCHEMA */river_job AS job
SET
    state = CASE
        WHEN ranked.conflicts THEN 'discarded'::/* SCHEMA */river_job_state
        ELSE 'available'::/* SCHEMA */river_job_state
    END,
    finalized_at = CASE WHEN ranked.conflicts THEN now() ELSE job.finalized_at END,
    metadata = CASE
        WHEN ranked.conflicts AND jsonb_typeof(job.metadata) = 'object'
            THEN job.metadata || '{"unique_key_conflict": "scheduler_discarded"}'::jsonb
        ELSE job.metadata
    END
FROM ranked
-- The array makes the rows be looked up by id: a join of this many would read the whole table.
WHERE job.id = ranked.id AND job.id = ANY (ARRAY(SELECT due.id FROM due))
RETURNING
    job.id,
    job.queue,
    ranked.conflicts AS discarded,
    job.scheduled_at <= now() + $3::interval AS due_now;

-- name: job_get_stuck
SELECT
    job.id,
    job.args::text,
    job.attempt,
    job.attempted_at,
    job.attempted_by,
    job.created_at,
    job.errors::text[],
    job.finalized_at,
    job.kind,
    job.max_attempts,
    job.metadata::text,
    job.priority,
    job.queue,
    job.state,
    job.scheduled_at,
    job.tags,
    job.unique_key,
    job.unique_states,
    CASE
        WHEN jsonb_typeof(job.metadata) = 'object' THEN job.metadata ->> 'cancel_attempted_at'
    END AS cancel_attempted_at
FROM /* SCHEMA */river_job AS job
WHERE job.state = 'running'
    AND job.attempted_at < $1::timestamptz
    AND job.id > $2::bigint
ORDER BY job.id
LIMIT $3::bigint;

-- name: job_rescue_many
WITH rescue AS (
    SELECT *
    FROM unnest(
        $1::bigint[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[]
    ) AS given (id, state, error, finalized_at, scheduled_at)
), stuck AS (
    SELECT job.id
    FROM /* SCHEMA */river_job AS job
    WHERE job.id = ANY($1::bigint[])
        AND job.state = 'running'
        AND job.attempted_at < $6::timestamptz
    ORDER BY job.id
    FOR UPDATE SKIP LOCKED
)
UPDATE /* SCHEMA */river_job AS job
SET
    state = rescue.state::/* SCHEMA */river_job_state,
    errors = array_append(job.errors, rescue.error::jsonb),
    finalized_at = rescue.finalized_at,
    scheduled_at = coalesce(rescue.scheduled_at, job.scheduled_at),
    metadata = CASE
        WHEN jsonb_typeof(job.metadata) <> 'object' THEN job.metadata
        ELSE job.metadata || jsonb_build_object(
            'river:rescue_count',
            CASE
                WHEN jsonb_typeof(job.metadata -> 'river:rescue_count') = 'number'
                    THEN (job.metadata ->> 'river:rescue_count')::numeric
                ELSE 0
            END + 1
        )
    END
FROM rescue
JOIN stuck ON stuck.id = rescue.id
WHERE job.id = rescue.id
RETURNING job.id;

-- name: job_delete_before
WITH due AS (
    SELECT job.id
    FROM (
        VALUES
            ('cancelled'::/* SCHEMA */river_job_state, $1::interval),
            ('completed'::/* SCHEMA */river_job_state, $2::interval),
            ('discarded'::/* SCHEMA */river_job_state, $3::interval)
    ) AS final (state, age)
    -- By the time they ended, as the index has them: by id, all jobs in front would be read.
    CROSS JOIN LATERAL (
        SELECT river_job.id
        FROM /* SCHEMA */river_job
        WHERE river_job.state = final.state
            AND river_job.finalized_at IS NOT NULL
            AND river_job.finalized_at < now() - final.age
        ORDER BY river_job.finalized_at
        LIMIT $4::bigint
    ) AS job
    LIMIT $4::bigint
)

DELETE FROM /* SCHEMA */river_job
-- Arrays, not IN: the rows are looked up by id, where a join would read the whole table.
WHERE id = ANY (ARRAY(
    SELECT job.id
    FROM /* SCHEMA */river_job AS job
    WHERE job.id = ANY (ARRAY(SELECT due.id FROM due))
        AND job.finalized_at < now() - CASE job.state
            WHEN 'cancelled' THEN $1::interval
            WHEN 'completed' THEN $2::interval
            WHEN 'discarded' THEN $3::interval
        END
    ORDER BY job.id
    -- Waits, as River does; whoever held the row may have retried its job, which is looked at again.
    FOR UPDATE
));

-- name: queue_delete_expired
DELETE FROM /* SCHEMA */river_queue
WHERE name IN (
    SELECT queue.name
    FROM /* SCHEMA */river_queue AS queue
    WHERE queue.updated_at < now() - $1::interval
    ORDER BY queue.name
    LIMIT $2::bigint
    FOR UPDATE SKIP LOCKED
)
RETURNING name;

-- name: periodic_slot_lock
-- The plan of the look that follows is made for its values until the transaction ends: a plan for
-- any values counts on finding a job early, and reads the whole table when there is none.
SELECT
    set_config('plan_cache_mode', 'force_custom_plan', true),
    pg_advisory_xact_lock(
        hashtextextended(concat(coalesce($1::text, current_schema()), ' ', $2::text), 7)
    );

-- name: periodic_slot_exists
SELECT EXISTS (
    SELECT 1
    FROM /* SCHEMA */river_job
    WHERE metadata @> $1::text::jsonb
        OR (metadata @> $2::text::jsonb AND scheduled_at = $3::timestamptz)
);

-- name: reindex_claim
SELECT pg_try_advisory_xact_lock(
    hashtextextended(concat('riverengine:reindex:', coalesce($1::text, current_schema())), 0)
);

-- name: reindex_keep_claim
SET LOCAL idle_in_transaction_session_timeout = 0;

-- name: index_artifacts
-- What a rebuild leaves behind is invalid. The lock is what a rebuild under way has on its indexes;
-- vacuum and writers take others.
SELECT
    artifact.relname AS name,
    NOT index.indisvalid
    AND NOT EXISTS (
        SELECT 1
        FROM pg_locks AS lock
        WHERE lock.locktype = 'relation'
            AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND lock.relation = artifact.oid
            AND lock.mode = 'ShareUpdateExclusiveLock'
            AND lock.pid <> $3::integer
    ) AS is_abandoned
FROM pg_class AS artifact
JOIN pg_index AS index ON index.indexrelid = artifact.oid
JOIN pg_namespace AS namespace ON namespace.oid = artifact.relnamespace
WHERE namespace.nspname = coalesce($1::text, current_schema())
    AND left(artifact.relname, length($2::text)) = $2::text
    AND substr(artifact.relname, length($2::text) + 1) ~ '^_cc(new|old)[0-9]*$'
ORDER BY artifact.relname;

-- name: index_exists
SELECT EXISTS (
    SELECT 1
    FROM pg_class AS index
    JOIN pg_namespace AS namespace ON namespace.oid = index.relnamespace
    WHERE namespace.nspname = coalesce($1::text, current_schema())
        AND index.relkind = 'i'
        AND index.relname = $2::text
);

-- name: index_command
SELECT format(
    CASE $1::text
        WHEN 'reindex' THEN 'REINDEX INDEX CONCURRENTLY %I.%I'
        WHEN 'drop' THEN 'DROP INDEX CONCURRENTLY IF EXISTS %I.%I'
    END,
    coalesce($2::text, current_schema()),
    $3::text
);
