-- name: queue_upsert
-- A queue's row, made or refreshed; what an existing one says of pause and metadata stays.
INSERT INTO /* SCHEMA */river_queue (name, created_at, metadata, paused_at, updated_at)
VALUES ($1::text, now(), '{}', NULL, now())
ON CONFLICT (name) DO UPDATE SET updated_at = excluded.updated_at
RETURNING name, created_at, updated_at, paused_at, metadata::text;

-- name: queue_get
SELECT name, created_at, updated_at, paused_at, metadata::text
FROM /* SCHEMA */river_queue
WHERE name = $1::text;

-- name: queue_list
SELECT name, created_at, updated_at, paused_at, metadata::text
FROM /* SCHEMA */river_queue
ORDER BY name
LIMIT $1::integer;

-- name: queue_name_list
SELECT name
FROM /* SCHEMA */river_queue
WHERE name > $1::text
    AND ($2::text = '' OR name ILIKE '%' || $2::text || '%')
    AND name <> ALL ($3::text[])
ORDER BY name
LIMIT $4::integer;

-- name: queue_pause
-- A queue that is paused keeps the time of its pause. The star means every queue; rows are locked in
-- one order, so that two such calls never wait for each other crosswise.
UPDATE /* SCHEMA */river_queue
SET
    paused_at = coalesce(paused_at, now()),
    updated_at = CASE WHEN paused_at IS NULL THEN now() ELSE updated_at END
WHERE name = ANY (ARRAY(
    SELECT queue.name
    FROM /* SCHEMA */river_queue AS queue
    WHERE $1::text IN ('*', queue.name)
    ORDER BY queue.name
    FOR NO KEY UPDATE
))
RETURNING name;

-- name: queue_resume
UPDATE /* SCHEMA */river_queue
SET
    paused_at = NULL,
    updated_at = CASE WHEN paused_at IS NOT NULL THEN now() ELSE updated_at END
WHERE name = ANY (ARRAY(
    SELECT queue.name
    FROM /* SCHEMA */river_queue AS queue
    WHERE $1::text IN ('*', queue.name)
    ORDER BY queue.name
    FOR NO KEY UPDATE
))
RETURNING name;

-- name: queue_update
UPDATE /* SCHEMA */river_queue
SET metadata = coalesce($2::text::jsonb, metadata), updated_at = now()
WHERE name = $1::text
RETURNING name, created_at, updated_at, paused_at, metadata::text;
