-- name: order_create
-- The first try fixes what is ordered and where; a repeat reads it back unchanged.
INSERT INTO /* SCHEMA */drug_test_orders
    (order_id, client_reference_id, workflow_id, step_name, org_id, employee_id, reason, dot,
     testing_authority, form, specimen, unit_codes, site_code, site_choice, rush, observed,
     expires_at)
VALUES ($1::uuid, $2::varchar, $3::varchar, $4::varchar, $5::varchar, $6::varchar, $7::varchar,
        $8::boolean, $9::varchar, $10::varchar, $11::varchar, $12::text[], $13::varchar,
        $14::jsonb, $15::boolean, $16::boolean, $17::timestamptz)
ON CONFLICT (order_id) DO NOTHING;

-- name: order_get
SELECT order_id, client_reference_id, workflow_id, site_code, state, submissions, submitted_at,
       quest_order_id, reference_test_id, failure_code, expires_at, ordered_at, created_at
FROM /* SCHEMA */drug_test_orders
WHERE order_id = $1::uuid;

-- name: order_list_unsettled
SELECT order_id, client_reference_id, workflow_id, site_code, state, submissions, submitted_at,
       quest_order_id, reference_test_id, failure_code, expires_at, ordered_at, created_at
FROM /* SCHEMA */drug_test_orders
WHERE state IN ('submitting', 'unconfirmed')
ORDER BY created_at
LIMIT $1::bigint;

-- name: order_begin_submission
-- The right to call the laboratory: of several attempts only one gets it, and only from the number
-- of submissions it has seen. The time names the submission: a person may let the number start again.
UPDATE /* SCHEMA */drug_test_orders
SET submissions = submissions + 1, submitted_at = now(), state = 'submitting', updated_at = now()
WHERE order_id = $1::uuid
  AND submissions = $2::smallint
  AND state IN ('submitting', 'unconfirmed')
RETURNING submitted_at;

-- name: order_release_submission
-- The laboratory certainly did nothing: the submission does not count.
UPDATE /* SCHEMA */drug_test_orders
SET submissions = submissions - 1, updated_at = now()
WHERE order_id = $1::uuid AND submitted_at = $2::timestamptz AND submissions > 0
  AND state = 'submitting';

-- name: order_set_unconfirmed
UPDATE /* SCHEMA */drug_test_orders
SET state = 'unconfirmed', updated_at = now()
WHERE order_id = $1::uuid AND submitted_at = $2::timestamptz AND state = 'submitting';

-- name: order_set_ordered
UPDATE /* SCHEMA */drug_test_orders
SET state = 'ordered', quest_order_id = $2::varchar, reference_test_id = $3::varchar,
    ordered_at = now(), failure_code = NULL, updated_at = now()
WHERE order_id = $1::uuid AND state IN ('submitting', 'unconfirmed')
RETURNING order_id;

-- name: order_set_failed
UPDATE /* SCHEMA */drug_test_orders
SET state = 'failed', failure_code = $3::varchar, updated_at = now()
WHERE order_id = $1::uuid AND submitted_at = $2::timestamptz
  AND state IN ('submitting', 'unconfirmed');

-- name: order_reopen
-- A person has made sure that the laboratory holds no such order.
UPDATE /* SCHEMA */drug_test_orders
SET state = 'submitting', submissions = 0, submitted_at = NULL, updated_at = now()
WHERE order_id = $1::uuid AND state IN ('unconfirmed', 'failed')
RETURNING order_id;
