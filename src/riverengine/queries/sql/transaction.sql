-- name: transaction_check
-- Fails in a transaction that an earlier error aborted.
SELECT 1;
