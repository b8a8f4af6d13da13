-- Organisations, and what they have subscribed to. The keys make every double impossible here,
-- whatever the code does: one organisation per sign-up, one subscription per organisation and plan.
CREATE TABLE organizations (
    org_id varchar(64) PRIMARY KEY,
    workflow_id varchar NOT NULL UNIQUE,
    name varchar(100) NOT NULL CHECK (btrim(name) <> ''),
    owner_user_id uuid NOT NULL UNIQUE,
    status varchar(20) NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'active', 'suspended')),
    settings jsonb NOT NULL DEFAULT '{}'::jsonb CHECK (jsonb_typeof(settings) = 'object'),
    stripe_customer_id varchar(255) UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE subscriptions (
    subscription_id uuid PRIMARY KEY,
    org_id varchar(64) NOT NULL REFERENCES organizations (org_id) ON DELETE RESTRICT,
    workflow_id varchar NOT NULL UNIQUE,
    plan varchar(40) NOT NULL,
    stripe_subscription_id varchar(255) NOT NULL UNIQUE,
    stripe_customer_id varchar(255) NOT NULL,
    status varchar(30) NOT NULL
        CHECK (status IN ('incomplete', 'incomplete_expired', 'trialing', 'active', 'past_due',
                          'canceled', 'unpaid', 'paused')),
    current_period_end timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (org_id, plan)
);

-- Supabase offers every table of this schema over HTTP: without a policy nobody but the owner and
-- service roles reads or writes a row.
ALTER TABLE organizations ENABLE ROW LEVEL SECURITY;
ALTER TABLE subscriptions ENABLE ROW LEVEL SECURITY;
