-- name: bench_place
-- Whose jobs a benchmark would delete.
SELECT current_database()::text AS database, coalesce($1::text, current_schema())::text AS schema;

-- name: bench_other_kinds
-- A few kinds of jobs that are not the benchmark's.
SELECT DISTINCT kind
FROM /* SCHEMA */river_job
WHERE kind <> $1::text
ORDER BY kind
LIMIT 5;

-- name: bench_truncate
TRUNCATE /* SCHEMA */river_job;

-- name: bench_vacuum
VACUUM FULL /* SCHEMA */river_job;
