-- name: organization_create
-- A repeat of the same sign-up finds its own row and changes nothing.
INSERT INTO /* SCHEMA */organizations (org_id, workflow_id, name, owner_user_id, settings)
VALUES ($1::varchar, $2::varchar, $3::varchar, $4::uuid, $5::jsonb)
ON CONFLICT (org_id) DO UPDATE SET org_id = excluded.org_id
    WHERE organizations.workflow_id = excluded.workflow_id
RETURNING org_id;

-- name: organization_exists
SELECT EXISTS (SELECT FROM /* SCHEMA */organizations WHERE org_id = $1::varchar);

-- name: organization_set_customer
UPDATE /* SCHEMA */organizations
SET stripe_customer_id = $2::varchar, updated_at = now()
WHERE org_id = $1::varchar
  AND (stripe_customer_id IS NULL OR stripe_customer_id = $2::varchar)
RETURNING stripe_customer_id;

-- name: organization_get_customer
SELECT stripe_customer_id FROM /* SCHEMA */organizations WHERE org_id = $1::varchar;

-- name: organization_set_status
UPDATE /* SCHEMA */organizations
SET status = $2::varchar, updated_at = now()
WHERE org_id = $1::varchar AND status <> $2::varchar;

-- name: subscription_record
-- Repeated under the same workflow it only refreshes what the provider says.
WITH recorded AS (
    INSERT INTO /* SCHEMA */subscriptions AS s
        (subscription_id, org_id, workflow_id, plan, stripe_subscription_id, stripe_customer_id,
         status, current_period_end)
    VALUES ($1::uuid, $2::varchar, $3::varchar, $4::varchar, $5::varchar, $6::varchar,
            $7::varchar, $8::timestamptz)
    ON CONFLICT (workflow_id) DO UPDATE
        SET status = excluded.status,
            current_period_end = excluded.current_period_end,
            updated_at = now()
        WHERE s.stripe_subscription_id = excluded.stripe_subscription_id
    RETURNING org_id, subscription_id
), activated AS (
    UPDATE /* SCHEMA */organizations AS o
    SET status = 'active', updated_at = now()
    FROM recorded
    WHERE o.org_id = recorded.org_id
)
SELECT subscription_id FROM recorded;
