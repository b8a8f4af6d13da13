-- Leadership: one row, whose elected_at and leader_id together name a term. Times are the database's.
-- Transactions that lock it get a limit of their own: nobody could lead while a client that was frozen
-- in the middle of one keeps its lock.

-- name: leader_delete_expired
DELETE FROM /* SCHEMA */river_leader
WHERE expires_at < now()
RETURNING set_config('idle_in_transaction_session_timeout', $1::text, true);

-- name: leader_insert
INSERT INTO /* SCHEMA */river_leader (leader_id, elected_at, expires_at)
VALUES ($1::text, now(), now() + $2::interval)
ON CONFLICT (name) DO NOTHING
RETURNING
    leader_id,
    elected_at,
    expires_at,
    set_config('idle_in_transaction_session_timeout', $3::text, true);

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
SELECT set_config('idle_in_transaction_session_timeout', $3::text, true)
FROM /* SCHEMA */river_leader
WHERE leader_id = $1::text
    AND elected_at = $2::timestamptz
    AND expires_at >= now()
FOR KEY SHARE;
