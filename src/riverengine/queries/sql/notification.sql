-- name: notify_many
-- One message per payload. A null schema means the sender's current one, as for tables.
SELECT pg_notify(concat(coalesce($1::text, current_schema()), '.', $2::text), message.payload)
FROM unnest($3::text[]) AS message (payload);

-- name: current_schema
SELECT current_schema();
