-- name: transaction_check
-- Fails in a transaction that an earlier error aborted.
SELECT 1;

-- name: session_sync
SELECT;

-- name: transaction_idle_limit
-- SET takes no snapshot: what makes the transaction's isolation another one may still follow.
SET LOCAL idle_in_transaction_session_timeout = /* MILLISECONDS */0;

-- name: transaction_limit
-- From PostgreSQL 17 on. A limit in force keeps its timer when it is changed; at 0 it loses it.
SET LOCAL transaction_timeout = /* MILLISECONDS */0;
