-- Collection sites, drug-test orders and the messages about them.
CREATE TABLE facilities (
    site_code varchar(16) PRIMARY KEY CHECK (btrim(site_code) <> ''),
    name varchar(200) NOT NULL,
    latitude double precision NOT NULL CHECK (latitude BETWEEN -90 AND 90),
    longitude double precision NOT NULL CHECK (longitude BETWEEN -180 AND 180),
    time_zone varchar(64) NOT NULL,
    tier varchar(20) NOT NULL DEFAULT 'third_party'
        CHECK (tier IN ('own', 'preferred', 'third_party')),
    details jsonb NOT NULL CHECK (jsonb_typeof(details) = 'object'),
    synced_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX facilities_position_idx ON facilities (latitude, longitude);

-- A row is committed as 'submitting' before the laboratory is called, and becomes 'ordered' after;
-- 'unconfirmed' is an order the laboratory may or may not hold. At most two submissions, ever.
CREATE TABLE drug_test_orders (
    order_id uuid PRIMARY KEY,
    client_reference_id varchar(36) NOT NULL UNIQUE,
    workflow_id varchar NOT NULL,
    step_name varchar NOT NULL,
    org_id varchar(64) REFERENCES organizations (org_id) ON DELETE RESTRICT,
    employee_id varchar(25) NOT NULL,
    reason varchar(30) NOT NULL
        CHECK (reason IN ('pre_employment', 'random', 'reasonable_suspicion', 'post_accident',
                          'return_to_duty', 'follow_up', 'periodic', 'other')),
    dot boolean NOT NULL,
    testing_authority varchar(10)
        CHECK (testing_authority IN ('FMCSA', 'PHMSA', 'FAA', 'FTA', 'FRA', 'USCG')),
    form varchar(20) NOT NULL CHECK (form IN ('federal', 'non_federal')),
    specimen varchar(20) NOT NULL CHECK (specimen IN ('urine', 'oral_fluid', 'hair', 'breath')),
    unit_codes text[] NOT NULL CHECK (cardinality(unit_codes) > 0),
    site_code varchar(16) NOT NULL REFERENCES facilities (site_code) ON DELETE RESTRICT,
    site_choice jsonb NOT NULL,
    rush boolean NOT NULL,
    observed boolean NOT NULL,
    state varchar(20) NOT NULL DEFAULT 'submitting'
        CHECK (state IN ('submitting', 'ordered', 'unconfirmed', 'failed', 'cancelled')),
    submissions smallint NOT NULL DEFAULT 0 CHECK (submissions BETWEEN 0 AND 2),
    submitted_at timestamptz,
    quest_order_id varchar(64) UNIQUE,
    reference_test_id varchar(64),
    failure_code varchar(64),
    expires_at timestamptz NOT NULL,
    ordered_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workflow_id, step_name),
    CHECK (dot = (testing_authority IS NOT NULL)),
    CHECK (dot = (form = 'federal')),
    CHECK (NOT dot OR reason NOT IN ('periodic', 'other')),
    CHECK (state <> 'ordered' OR (quest_order_id IS NOT NULL AND ordered_at IS NOT NULL))
);

CREATE INDEX drug_test_orders_unsettled_idx ON drug_test_orders (submitted_at)
    WHERE state IN ('submitting', 'unconfirmed');

-- One message per recipient, channel and step; the address itself is kept out.
CREATE TABLE notifications (
    notification_id uuid PRIMARY KEY,
    workflow_id varchar NOT NULL,
    step_name varchar NOT NULL,
    order_id uuid REFERENCES drug_test_orders (order_id) ON DELETE RESTRICT,
    recipient varchar(20) NOT NULL CHECK (recipient IN ('employee', 'supervisor')),
    channel varchar(10) NOT NULL CHECK (channel IN ('email', 'sms')),
    state varchar(20) NOT NULL DEFAULT 'pending'
        CHECK (state IN ('pending', 'sending', 'sent', 'failed', 'held')),
    tries smallint NOT NULL DEFAULT 0 CHECK (tries >= 0),
    first_tried_at timestamptz,
    provider_id varchar(400),
    failure_code varchar(64),
    sent_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workflow_id, step_name, recipient, channel),
    CHECK (state <> 'sent' OR (sent_at IS NOT NULL AND provider_id IS NOT NULL))
);

ALTER TABLE facilities ENABLE ROW LEVEL SECURITY;
ALTER TABLE drug_test_orders ENABLE ROW LEVEL SECURITY;
ALTER TABLE notifications ENABLE ROW LEVEL SECURITY;
