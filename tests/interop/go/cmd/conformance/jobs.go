package main

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

func (s *server) jobMethods() map[string]handler {
	return map[string]handler{
		"insert":            method(s.insert),
		"insert_many":       method(s.insertMany),
		"benchmark_enqueue": method(s.benchmarkEnqueue),
		"get":               method(s.get),
		"list":              method(s.list),
		"update":            method(s.update),
		"cancel":            method(s.cancel),
		"retry":             method(s.retry),
		"delete":            method(s.delete),
		"delete_many":       method(s.deleteMany),
	}
}

type uniqueParams struct {
	ByArgs      bool                 `json:"by_args"`
	ByPeriodMS  int64                `json:"by_period_ms" rpc:"min=0"`
	ByQueue     bool                 `json:"by_queue"`
	ByState     []rivertype.JobState `json:"by_state" rpc:"enum=state"`
	ExcludeKind bool                 `json:"exclude_kind"`
}

type optsParams struct {
	MaxAttempts int             `json:"max_attempts" rpc:"min=1"`
	Metadata    json.RawMessage `json:"metadata" rpc:"object"`
	Pending     bool            `json:"pending"`
	Priority    int             `json:"priority"`
	Queue       string          `json:"queue"`
	ScheduledAt *instant        `json:"scheduled_at"`
	Tags        []string        `json:"tags"`
	Unique      *uniqueParams   `json:"unique"`
}

type insertJob struct {
	Behavior   string      `json:"behavior" rpc:"enum=behavior"`
	DurationMS int64       `json:"duration_ms" rpc:"min=0"`
	Message    string      `json:"message"`
	Opts       *optsParams `json:"opts"`
}

func (j insertJob) args() echoArgs {
	return echoArgs{Behavior: j.Behavior, DurationMS: j.DurationMS, Message: j.Message}
}

func (j insertJob) opts() *river.InsertOpts {
	if j.Opts == nil {
		return nil
	}
	opts := &river.InsertOpts{
		MaxAttempts: j.Opts.MaxAttempts, Metadata: j.Opts.Metadata, Pending: j.Opts.Pending,
		Priority: j.Opts.Priority, Queue: j.Opts.Queue, Tags: j.Opts.Tags,
	}
	if j.Opts.ScheduledAt != nil {
		opts.ScheduledAt = j.Opts.ScheduledAt.Time
	}
	if unique := j.Opts.Unique; unique != nil {
		opts.UniqueOpts = river.UniqueOpts{
			ByArgs: unique.ByArgs, ByPeriod: time.Duration(unique.ByPeriodMS) * time.Millisecond,
			ByQueue: unique.ByQueue, ByState: unique.ByState, ExcludeKind: unique.ExcludeKind,
		}
	}
	return opts
}

type insertParams struct {
	insertJob
	Schema string `json:"schema"`
}

func (s *server) insert(ctx context.Context, params insertParams) (any, error) {
	client, err := s.client(params.Schema)
	if err != nil {
		return nil, err
	}
	result, err := client.Insert(ctx, params.args(), params.opts())
	if err != nil {
		return nil, err
	}
	return normalJob(result.Job), nil
}

type insertManyParams struct {
	Jobs []insertJob `json:"jobs" rpc:"required"`
}

type insertResult struct {
	Job                      jobValue `json:"job"`
	UniqueSkippedAsDuplicate bool     `json:"unique_skipped_as_duplicate"`
}

type insertResults struct {
	Results []insertResult `json:"results"`
}

func manyParams(jobs []insertJob) []river.InsertManyParams {
	many := []river.InsertManyParams{}
	for _, job := range jobs {
		many = append(many, river.InsertManyParams{Args: job.args(), InsertOpts: job.opts()})
	}
	return many
}

func manyResults(results []*rivertype.JobInsertResult) insertResults {
	values := insertResults{Results: []insertResult{}}
	for _, result := range results {
		values.Results = append(values.Results, insertResult{normalJob(result.Job), result.UniqueSkippedAsDuplicate})
	}
	return values
}

func (s *server) insertMany(ctx context.Context, params insertManyParams) (any, error) {
	client, err := s.client("")
	if err != nil {
		return nil, err
	}
	results, err := client.InsertMany(ctx, manyParams(params.Jobs))
	if err != nil {
		return nil, err
	}
	return manyResults(results), nil
}

type benchmarkParams struct {
	Jobs int `json:"jobs" rpc:"required,min=1"`
}

type benchmarkResult struct {
	DurationNS int64 `json:"duration_ns"`
	P95NS      int64 `json:"p95_ns"`
}

func (s *server) benchmarkEnqueue(ctx context.Context, params benchmarkParams) (any, error) {
	client, err := s.client("")
	if err != nil {
		return nil, err
	}
	times := make([]time.Duration, 0, params.Jobs)
	began := time.Now()
	for range params.Jobs {
		start := time.Now()
		if _, err := client.Insert(ctx, echoArgs{Message: "benchmark"}, nil); err != nil {
			return nil, err
		}
		times = append(times, time.Since(start))
	}
	total := time.Since(began)
	slices.Sort(times)
	return benchmarkResult{total.Nanoseconds(), times[(len(times)*95+99)/100-1].Nanoseconds()}, nil
}

type idParams struct {
	ID int64 `json:"id" rpc:"required,min=1"`
}

type getParams struct {
	idParams
	schemaParams
}

func (s *server) get(ctx context.Context, params getParams) (any, error) {
	client, err := s.client(params.Schema)
	if err != nil {
		return nil, err
	}
	return normalized(client.JobGet(ctx, params.ID))
}

func normalized(job *rivertype.JobRow, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return normalJob(job), nil
}

func (s *server) oneJob(
	ctx context.Context, id int64,
	operation func(*river.Client[pgx.Tx]) func(context.Context, int64) (*rivertype.JobRow, error),
) (any, error) {
	client, err := s.client("")
	if err != nil {
		return nil, err
	}
	return normalized(operation(client)(ctx, id))
}

func (s *server) cancel(ctx context.Context, params idParams) (any, error) {
	return s.oneJob(ctx, params.ID, func(client *river.Client[pgx.Tx]) func(context.Context, int64) (*rivertype.JobRow, error) {
		return client.JobCancel
	})
}

func (s *server) retry(ctx context.Context, params idParams) (any, error) {
	return s.oneJob(ctx, params.ID, func(client *river.Client[pgx.Tx]) func(context.Context, int64) (*rivertype.JobRow, error) {
		return client.JobRetry
	})
}

func (s *server) delete(ctx context.Context, params idParams) (any, error) {
	return s.oneJob(ctx, params.ID, func(client *river.Client[pgx.Tx]) func(context.Context, int64) (*rivertype.JobRow, error) {
		return client.JobDelete
	})
}

type updateParams struct {
	idParams
	Output json.RawMessage `json:"output"`
}

func (p updateParams) river() *river.JobUpdateParams {
	if p.Output == nil {
		return nil
	}
	return &river.JobUpdateParams{Output: p.Output}
}

func (s *server) update(ctx context.Context, params updateParams) (any, error) {
	client, err := s.client("")
	if err != nil {
		return nil, err
	}
	return normalized(client.JobUpdate(ctx, params.ID, params.river()))
}

type deleteManyParams struct {
	All    bool                 `json:"all"`
	IDs    []int64              `json:"ids" rpc:"min=1"`
	Kinds  []string             `json:"kinds"`
	Limit  int                  `json:"limit" rpc:"min=1"`
	Queues []string             `json:"queues"`
	States []rivertype.JobState `json:"states" rpc:"enum=state"`
}

func (p deleteManyParams) river() (*river.JobDeleteManyParams, error) {
	params := river.NewJobDeleteManyParams()
	if p.All {
		params = params.UnsafeAll()
	}
	if p.IDs != nil {
		params = params.IDs(p.IDs...)
	}
	if p.Kinds != nil {
		params = params.Kinds(p.Kinds...)
	}
	if p.Limit > maxLimit {
		return nil, failure(codeRejected, "limit must be at most %d", maxLimit)
	}
	if p.Limit > 0 {
		params = params.First(p.Limit)
	}
	if p.Queues != nil {
		params = params.Queues(p.Queues...)
	}
	if p.States != nil {
		params = params.States(p.States...)
	}
	return params, nil
}

type jobsResult struct {
	Jobs []jobValue `json:"jobs"`
}

func normalJobs(jobs []*rivertype.JobRow) []jobValue {
	values := []jobValue{}
	for _, job := range jobs {
		values = append(values, normalJob(job))
	}
	return values
}

func (s *server) deleteMany(ctx context.Context, params deleteManyParams) (any, error) {
	client, err := s.client("")
	if err != nil {
		return nil, err
	}
	filter, err := params.river()
	if err != nil {
		return nil, err
	}
	result, err := client.JobDeleteMany(ctx, filter)
	if err != nil {
		return nil, err
	}
	return jobsResult{normalJobs(result.Jobs)}, nil
}
