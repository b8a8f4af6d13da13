// Peer is a Go River client that the Python tests drive: one JSON-RPC 2.0 request per line on
// standard input, one answer per line on standard output.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"
)

type request struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
}

type answer struct {
	Version string       `json:"jsonrpc"`
	ID      int          `json:"id"`
	Result  any          `json:"result,omitempty"`
	Error   *answerError `json:"error,omitempty"`
}

type answerError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// interopArgs are the args of the one kind that both sides work.
type interopArgs struct {
	Behavior string `json:"behavior"`
	Text     string `json:"text"`
	Number   int64  `json:"number"`
}

func (interopArgs) Kind() string { return "interop" }

type interopWorker struct {
	river.WorkerDefaults[interopArgs]
}

func (*interopWorker) NextRetry(*river.Job[interopArgs]) time.Time {
	return time.Now().Add(50 * time.Millisecond)
}

func (*interopWorker) Work(ctx context.Context, job *river.Job[interopArgs]) error {
	switch job.Args.Behavior {
	case "error":
		return errors.New("told to fail")
	case "error_once":
		if job.Attempt == 1 {
			return errors.New("told to fail once")
		}
	case "cancel":
		return river.JobCancel(errors.New("told to cancel"))
	case "snooze_once":
		var metadata map[string]any
		if err := json.Unmarshal(job.Metadata, &metadata); err != nil {
			return err
		}
		if metadata["snoozes"] == nil {
			return river.JobSnooze(50 * time.Millisecond)
		}
	case "wait":
		<-ctx.Done()
		return ctx.Err()
	case "output":
		return river.RecordOutput(ctx, map[string]any{"text": job.Args.Text, "by": "go"})
	}
	return nil
}

type peer struct {
	client *river.Client[pgx.Tx]
	pool   *pgxpool.Pool
}

type insertParams struct {
	Args        interopArgs          `json:"args"`
	Queue       string               `json:"queue"`
	Priority    int                  `json:"priority"`
	MaxAttempts int                  `json:"max_attempts"`
	ScheduledAt time.Time            `json:"scheduled_at"`
	Metadata    json.RawMessage      `json:"metadata"`
	Tags        []string             `json:"tags"`
	ByArgs      bool                 `json:"by_args"`
	ByQueue     bool                 `json:"by_queue"`
	ByPeriodS   int                  `json:"by_period_s"`
	ExcludeKind bool                 `json:"exclude_kind"`
	ByState     []rivertype.JobState `json:"by_state"`
}

type startParams struct {
	Queue   string `json:"queue"`
	Workers int    `json:"workers"`
}

type idParams struct {
	ID int64 `json:"id"`
}

type queueParams struct {
	Name string `json:"name"`
}

func jobJSON(job *rivertype.JobRow) map[string]any {
	states := []string{}
	for _, state := range job.UniqueStates {
		states = append(states, string(state))
	}
	failures := []string{}
	for _, failure := range job.Errors {
		failures = append(failures, failure.Error)
	}
	return map[string]any{
		"id": job.ID, "state": job.State, "attempt": job.Attempt, "kind": job.Kind,
		"args": json.RawMessage(job.EncodedArgs), "metadata": json.RawMessage(job.Metadata),
		"queue": job.Queue, "priority": job.Priority, "max_attempts": job.MaxAttempts,
		"tags": job.Tags, "errors": failures, "attempted_by": job.AttemptedBy,
		"unique_key": fmt.Sprintf("%x", job.UniqueKey), "unique_states": states,
	}
}

func (p *peer) call(ctx context.Context, req request) (any, error) {
	switch req.Method {
	case "insert":
		var params insertParams
		if err := json.Unmarshal(req.Params, &params); err != nil {
			return nil, err
		}
		result, err := p.client.Insert(ctx, params.Args, &river.InsertOpts{
			Queue: params.Queue, Priority: params.Priority, MaxAttempts: params.MaxAttempts,
			ScheduledAt: params.ScheduledAt, Metadata: params.Metadata, Tags: params.Tags,
			UniqueOpts: river.UniqueOpts{
				ByArgs: params.ByArgs, ByQueue: params.ByQueue, ExcludeKind: params.ExcludeKind,
				ByPeriod: time.Duration(params.ByPeriodS) * time.Second, ByState: params.ByState,
			},
		})
		if err != nil {
			return nil, err
		}
		return map[string]any{
			"job": jobJSON(result.Job), "skipped": result.UniqueSkippedAsDuplicate,
		}, nil
	case "start":
		var params startParams
		if err := json.Unmarshal(req.Params, &params); err != nil {
			return nil, err
		}
		return p.start(ctx, params)
	case "stop":
		return map[string]any{}, p.client.Stop(ctx)
	case "job_get", "job_cancel", "job_retry":
		var params idParams
		if err := json.Unmarshal(req.Params, &params); err != nil {
			return nil, err
		}
		operation := map[string]func(context.Context, int64) (*rivertype.JobRow, error){
			"job_get": p.client.JobGet, "job_cancel": p.client.JobCancel, "job_retry": p.client.JobRetry,
		}[req.Method]
		job, err := operation(ctx, params.ID)
		if err != nil {
			return nil, err
		}
		return jobJSON(job), nil
	case "queue_pause", "queue_resume":
		var params queueParams
		if err := json.Unmarshal(req.Params, &params); err != nil {
			return nil, err
		}
		if req.Method == "queue_pause" {
			return map[string]any{}, p.client.QueuePause(ctx, params.Name, nil)
		}
		return map[string]any{}, p.client.QueueResume(ctx, params.Name, nil)
	}
	return p.admin(ctx, req)
}

func (p *peer) start(ctx context.Context, params startParams) (any, error) {
	workers := river.NewWorkers()
	river.AddWorker(workers, &interopWorker{})
	client, err := newClient(p.pool, &river.Config{
		Workers:           workers,
		Queues:            map[string]river.QueueConfig{params.Queue: {MaxWorkers: params.Workers}},
		FetchCooldown:     10 * time.Millisecond,
		FetchPollInterval: 50 * time.Millisecond,
	})
	if err != nil {
		return nil, err
	}
	p.client = client
	return map[string]any{"id": client.ID()}, client.Start(ctx)
}

func newClient(pool *pgxpool.Pool, config *river.Config) (*river.Client[pgx.Tx], error) {
	config.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	inner, err := river.NewClient(riverpgxv5.New(pool), config)
	return inner, err
}

func run() error {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, os.Args[1])
	if err != nil {
		return err
	}
	defer pool.Close()
	client, err := newClient(pool, &river.Config{})
	if err != nil {
		return err
	}
	peer := &peer{client: client, pool: pool}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1024*1024), 16*1024*1024)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var req request
		if err := json.Unmarshal(lines.Bytes(), &req); err != nil {
			return err
		}
		reply := answer{Version: "2.0", ID: req.ID}
		if reply.Result, err = peer.call(ctx, req); err != nil {
			reply.Result, reply.Error = nil, &answerError{Code: -32002, Message: err.Error()}
		}
		if err := out.Encode(reply); err != nil {
			return err
		}
	}
	return lines.Err()
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
