-- Leadership: one row, whose elected_at and leader_id together name a term. Times are the database's.

-- name: leader_attempt_elect
-- One statement: nobody could lead while a client that was frozen between two keeps the row locked.
-- An expired row is deleted, not updated, since an update would pass the lock of leader_hold; the
-- count makes the insert wait for the deletion.
WITH expired AS (
    DELETE FROM /* SCHEMA */river_leader
    WHERE expires_at < now()
    RETURNING 1
), swept AS (
    SELECT count(*) FROM expired
)
INSERT INTO /* SCHEMA */river_leader (leader_id, elected_at, expires_at)
SELECT $1::text, now(), now() + $2::interval
FROM swept
ON CONFLICT (name) DO NOTHING
RETURNING leader_id, elected_at, expires_at;

-- name: leader_reelect
UPDATE /* SCHEMA */river_leader
SET expires_at = now() + $3::interval
WHERE leader_id = $1::text
    AND elected_at = $2::timestamptz
    AND expires_at >= now()
RETURNING leader_id, elected_at, expires_at;

-- name: leader_resign
WITH term AS (
    SELECT leader_id, elected_at
    FROM /* SCHEMA */river_leader
    WHERE leader_id = $1::text
        AND elected_at = $2::timestamptz
    FOR UPDATE
), told AS (
    SELECT
        term.leader_id,
        term.elected_at,
        pg_notify(
            concat(coalesce($3::text, current_schema()), '.', $4::text),
            json_build_object('leader_id', term.leader_id, 'action', 'resigned')::text
        )
    FROM term
)
DELETE FROM /* SCHEMA */river_leader AS leader
USING told
WHERE leader.leader_id = told.leader_id
    AND leader.elected_at = told.elected_at
RETURNING leader.leader_id;

-- name: leader_get
SELECT leader_id, elected_at, expires_at
FROM /* SCHEMA */river_leader;

-- name: leader_hold
SELECT 1
FROM /* SCHEMA */river_leader
WHERE leader_id = $1::text
    AND elected_at = $2::timestamptz
    AND expires_at >= now()
FOR KEY SHARE;
