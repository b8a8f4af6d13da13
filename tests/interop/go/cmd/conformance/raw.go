package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

func (s *server) rawMethods() map[string]handler {
	return map[string]handler{
		"raw_finalize":          method(s.rawFinalize),
		"raw_insert_exact_json": method(s.rawInsertExactJSON),
		"raw_insert_full_row":   method(s.rawInsertFullRow),
		"raw_insert_no_notify":  method(s.rawInsertNoNotify),
		"raw_job_exact_json":    method(s.rawJobExactJSON),
		"raw_job_row":           method(s.rawJobRow),
		"raw_job_timestamps":    method(s.rawJobTimestamps),
		"raw_notifications":     method(s.rawNotifications),
	}
}

type finalizeParams struct {
	idParams
	Metadata json.RawMessage `json:"metadata" rpc:"object"`
	State    string          `json:"state" rpc:"required,enum=completed|discarded"`
}

func (s *server) rawFinalize(ctx context.Context, params finalizeParams) (any, error) {
	if params.Metadata == nil {
		params.Metadata = json.RawMessage("{}")
	}
	var failed *string
	if params.State == "discarded" {
		text := `{"at":"2026-02-03T04:05:06.789Z","attempt":1,"error":"external discard","trace":"external trace"}`
		failed = &text
	}
	changed, err := s.pool.Exec(ctx, `
		UPDATE river_job
		SET state = $2::river_job_state, finalized_at = now(), metadata = metadata || $3::jsonb,
		    errors = CASE WHEN $4::jsonb IS NULL THEN errors ELSE array_append(errors, $4::jsonb) END
		WHERE id = $1 AND state = 'running'`, params.ID, params.State, string(params.Metadata), failed)
	if err != nil {
		return nil, err
	}
	job, err := s.get(ctx, getParams{idParams: params.idParams})
	if err == nil && changed.RowsAffected() == 0 {
		return nil, failure(codeNotFound, "job %d is not running", params.ID)
	}
	return job, err
}

// kindArgs are echo args under a kind of the caller's choice.
type kindArgs struct {
	echoArgs
	kind string
}

func (a kindArgs) Kind() string { return a.kind }

type rawInsertParams struct {
	insertJob
	Kind string `json:"kind" rpc:"nonempty"`
}

func (s *server) rawInsertNoNotify(ctx context.Context, params rawInsertParams) (any, error) {
	client, err := river.NewClient(silentDriver{riverpgxv5.New(s.pool)}, &river.Config{Logger: logger()})
	if err != nil {
		return nil, err
	}
	args := kindArgs{params.args(), params.Kind}
	if args.kind == "" {
		args.kind = echoKind
	}
	result, err := client.Insert(ctx, args, params.opts())
	if err != nil {
		return nil, err
	}
	return normalJob(result.Job), nil
}

type exactParams struct {
	ID           int64   `json:"id" rpc:"min=1"`
	MetadataJSON *string `json:"metadata_json"`
}

const exactArgs = `{"decimal":0.12345678901234567890123456789,"integer":9223372036854775807,"negative":-9223372036854775808}`

type idResult struct {
	ID int64 `json:"id"`
}

func (s *server) rawInsertExactJSON(ctx context.Context, params exactParams) (any, error) {
	metadata := `{"negative":-9223372036854775808}`
	if params.MetadataJSON != nil {
		metadata = *params.MetadataJSON
	}
	var result idResult
	err := s.pool.QueryRow(ctx, `
		INSERT INTO river_job (id, args, kind, max_attempts, metadata)
		VALUES (coalesce($1::bigint, nextval('river_job_id_seq')), $2::jsonb, 'conformance_exact_json', 25, $3::jsonb)
		RETURNING id`,
		optionalID(params.ID), exactArgs, metadata,
	).Scan(&result.ID)
	return result, err
}

func optionalID(id int64) *int64 {
	if id == 0 {
		return nil
	}
	return &id
}

type exactResult struct {
	BigInteger  string `json:"big_integer,omitempty"`
	BeyondFloat string `json:"beyond_float,omitempty"`
	Decimal     string `json:"decimal"`
	Integer     string `json:"integer"`
	LongDecimal string `json:"long_decimal,omitempty"`
	Negative    string `json:"negative"`
}

func (s *server) rawJobExactJSON(ctx context.Context, params idParams) (any, error) {
	client, err := s.client("")
	if err != nil {
		return nil, err
	}
	job, err := client.JobGet(ctx, params.ID)
	if err != nil {
		return nil, err
	}
	members := map[string]json.RawMessage{}
	// Args come last, so that they win over metadata of the same name.
	for _, raw := range [][]byte{job.Metadata, job.EncodedArgs} {
		if err := json.Unmarshal(raw, &members); err != nil {
			return nil, failure(codeInternal, "job %d: %v", params.ID, err)
		}
	}
	return exactResult{
		BigInteger: string(members["big_integer"]), BeyondFloat: string(members["beyond_float"]),
		Decimal: string(members["decimal"]), Integer: string(members["integer"]),
		LongDecimal: string(members["long_decimal"]), Negative: string(members["negative"]),
	}, nil
}

func (s *server) rawInsertFullRow(ctx context.Context, _ noParams) (any, error) {
	at := func(second int, fraction time.Duration) time.Time {
		return time.Date(2026, time.January, 2, 3, 4, second, int(fraction), time.UTC)
	}
	failed := `{"at":"2026-01-02T03:04:06.123456Z","attempt":3,"error":"worker failed: escaped \"detail\"","trace":"frame one\nframe two"}`
	var id int64
	err := s.pool.QueryRow(ctx, `
		INSERT INTO river_job
		  (args, attempt, attempted_at, attempted_by, created_at, errors, finalized_at, kind, max_attempts,
		   metadata, priority, queue, scheduled_at, state, tags, unique_key, unique_states)
		VALUES
		  ($1::jsonb, 3, $2, $3::text[], $4, ARRAY[$5::jsonb], $6, 'conformance_full_row', 4, $7::jsonb, 2,
		   'priority_jobs', $8, 'discarded', $9::varchar[], decode(repeat('ab', 32), 'hex'), '11110101')
		RETURNING id`,
		`{"nested":{"enabled":true},"values":[1,"two",null]}`, at(6, 123_456_000), []string{"go-client", "candidate-client"},
		at(5, 678_900_000), failed, at(7, 1_000),
		`{"output":{"ok":true},"river:rescue_count":2,"user":"metadata"}`, at(5, 999_999_000),
		[]string{"alpha_tag", "beta_tag"},
	).Scan(&id)
	if err != nil {
		return nil, err
	}
	return s.get(ctx, getParams{idParams: idParams{id}})
}

type rawRow struct {
	Args             string  `json:"args"`
	AttemptedAt      *string `json:"attempted_at"`
	AttemptedBy      *string `json:"attempted_by"`
	CreatedAt        string  `json:"created_at"`
	Errors           *string `json:"errors"`
	FinalizedAt      *string `json:"finalized_at"`
	JSONB            *string `json:"jsonb"`
	Metadata         string  `json:"metadata"`
	ScheduledAt      string  `json:"scheduled_at"`
	Tags             string  `json:"tags"`
	UniqueKey        *string `json:"unique_key"`
	UniqueKeyType    *string `json:"unique_key_type"`
	UniqueStates     *string `json:"unique_states"`
	UniqueStatesType *string `json:"unique_states_type"`
}

func (s *server) rawJobRow(ctx context.Context, params idParams) (any, error) {
	var row rawRow
	err := s.pool.QueryRow(ctx, `
		SELECT args::text, attempted_at::text, attempted_by::text, created_at::text, errors::text,
		       finalized_at::text, metadata::text, scheduled_at::text, tags::text,
		       upper(encode(unique_key, 'hex')), unique_states::text
		FROM river_job WHERE id = $1`, params.ID,
	).Scan(&row.Args, &row.AttemptedAt, &row.AttemptedBy, &row.CreatedAt, &row.Errors, &row.FinalizedAt,
		&row.Metadata, &row.ScheduledAt, &row.Tags, &row.UniqueKey, &row.UniqueStates)
	if err == pgx.ErrNoRows {
		return nil, failure(codeNotFound, "no job %d", params.ID)
	}
	return row, err
}

type timestampsResult struct {
	CreatedAt   string `json:"created_at"`
	ScheduledAt string `json:"scheduled_at"`
}

func (s *server) rawJobTimestamps(ctx context.Context, params idParams) (any, error) {
	var result timestampsResult
	err := s.pool.QueryRow(ctx, "SELECT created_at::text, scheduled_at::text FROM river_job WHERE id = $1", params.ID).
		Scan(&result.CreatedAt, &result.ScheduledAt)
	if err == pgx.ErrNoRows {
		return nil, failure(codeNotFound, "no job %d", params.ID)
	}
	return result, err
}

type notificationsParams struct {
	AfterID *int64 `json:"after_id" rpc:"required,min=0"`
}

func (s *server) rawNotifications(context.Context, notificationsParams) (any, error) {
	return nil, failure(codeUnsupported, "PostgreSQL keeps no notifications")
}
