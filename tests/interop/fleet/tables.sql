-- What clients say they did, and what the queue's rows went through.
CREATE TABLE fleet_effect (
  id bigserial PRIMARY KEY,
  job_id bigint NOT NULL,
  attempt int NOT NULL,
  attempted_at timestamptz NOT NULL,
  client_id text NOT NULL,
  process text NOT NULL,
  language text NOT NULL,
  phase text NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE fleet_insert (
  id bigserial PRIMARY KEY,
  token text NOT NULL,
  client_id text NOT NULL,
  language text NOT NULL,
  phase text NOT NULL,
  job_id bigint,
  at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE fleet_history (
  id bigserial PRIMARY KEY,
  job_id bigint NOT NULL,
  old_state river_job_state,
  new_state river_job_state,
  attempt int NOT NULL,
  attempted_at timestamptz,
  worked_by text,
  at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE fleet_leader (
  id bigserial PRIMARY KEY,
  leader_id text NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE FUNCTION fleet_record_job() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO fleet_history (job_id, old_state, new_state, attempt, attempted_at, worked_by)
  VALUES (
    coalesce(NEW.id, OLD.id), OLD.state, NEW.state, coalesce(NEW.attempt, OLD.attempt),
    coalesce(NEW.attempted_at, OLD.attempted_at), NEW.attempted_by[array_length(NEW.attempted_by, 1)]
  );
  RETURN NULL;
END $$;

CREATE TRIGGER fleet_record_job AFTER INSERT OR UPDATE OR DELETE ON river_job
FOR EACH ROW EXECUTE FUNCTION fleet_record_job();

CREATE FUNCTION fleet_record_leader() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO fleet_leader (leader_id) VALUES (NEW.leader_id);
  RETURN NULL;
END $$;

CREATE TRIGGER fleet_record_leader AFTER INSERT ON river_leader
FOR EACH ROW EXECUTE FUNCTION fleet_record_leader();
