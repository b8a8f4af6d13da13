-- name: queue_upsert
-- A queue's row, made or refreshed; what an existing one says of pause and metadata stays.
INSERT INTO /* SCHEMA */river_queue (name, created_at, metadata, paused_at, updated_at)
VALUES ($1::text, now(), '{}', NULL, now())
ON CONFLICT (name) DO UPDATE SET updated_at = excluded.updated_at
RETURNING name, created_at, updated_at, paused_at, metadata;

-- name: queue_get
SELECT name, created_at, updated_at, paused_at, metadata
FROM /* SCHEMA */river_queue
WHERE name = $1::text;
