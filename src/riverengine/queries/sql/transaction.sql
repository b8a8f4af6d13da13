-- name: transaction_check
-- Fails in a transaction that an earlier error aborted.
SELECT 1;

-- name: session_sync
SELECT;

-- name: transaction_limit
-- A session is not idle for PostgreSQL between the parsing of a statement and its run.
SELECT
    set_config('idle_in_transaction_session_timeout', $1::text, true),
    CASE
        WHEN current_setting('server_version_num')::integer >= 170000
            THEN set_config('transaction_timeout', $1::text, true)
    END;
