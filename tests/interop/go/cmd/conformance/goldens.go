package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"github.com/robfig/cron/v3"

	"riverjobs/interop/uniquekey"
)

func (s *server) goldenMethods() map[string]handler {
	return map[string]handler{
		"clock_set":   method(s.clockSet),
		"cron_next":   method(s.cronNext),
		"retry_delay": method(s.retryDelay),
		"rng_seed":    method(s.rngSeed),
		"unique_key":  method(s.uniqueKey),
	}
}

type clockParams struct {
	Now instant `json:"now" rpc:"required"`
}

// clockSet keeps the time; the only method it could bear upon, retry_delay, gives a difference.
func (s *server) clockSet(_ context.Context, params clockParams) (any, error) {
	s.now = &params.Now.Time
	return empty{}, nil
}

type seedParams struct {
	Seed uint64 `json:"seed" rpc:"required"`
}

// rngSeed changes nothing: River's retry policy draws from Go's global source.
func (s *server) rngSeed(context.Context, seedParams) (any, error) { return empty{}, nil }

type retryParams struct {
	ErrorCount int   `json:"error_count" rpc:"required,min=1"`
	JobID      int64 `json:"job_id" rpc:"required"`
}

type retryResult struct {
	DelayNS int64 `json:"delay_ns"`
}

func (s *server) retryDelay(_ context.Context, params retryParams) (any, error) {
	job := &rivertype.JobRow{ID: params.JobID, Errors: make([]rivertype.AttemptError, params.ErrorCount-1)}
	policy := &river.DefaultClientRetryPolicy{}
	now := time.Now()
	return retryResult{policy.NextRetry(job).Sub(now).Nanoseconds()}, nil
}

type cronParams struct {
	Count      int     `json:"count" rpc:"required,min=1"`
	Expression string  `json:"expression" rpc:"required"`
	From       instant `json:"from" rpc:"required"`
}

type cronResult struct {
	Next []string `json:"next"`
}

func (s *server) cronNext(_ context.Context, params cronParams) (any, error) {
	schedule, err := cron.ParseStandard(params.Expression)
	if err != nil {
		return nil, err
	}
	result := cronResult{Next: []string{}}
	at := params.From.Time
	for range params.Count {
		at = schedule.Next(at)
		if at.IsZero() {
			break
		}
		result.Next = append(result.Next, at.Format(time.RFC3339Nano))
	}
	return result, nil
}

type uniqueKeyOptions struct {
	ByArgs        bool                 `json:"by_args" rpc:"required"`
	ByPeriodNanos int64                `json:"by_period_nanos" rpc:"required,min=0"`
	ByQueue       bool                 `json:"by_queue" rpc:"required"`
	ByState       []rivertype.JobState `json:"by_state" rpc:"enum=state"`
	ExcludeKind   bool                 `json:"exclude_kind" rpc:"required"`
}

type uniqueKeyParams struct {
	Args                     json.RawMessage  `json:"args" rpc:"required"`
	ExpectedError            string           `json:"expected_error" rpc:"enum=rejected"`
	ExpectedSHA256           string           `json:"expected_sha256"`
	ExpectedStateMask        int64            `json:"expected_state_mask"`
	Kind                     string           `json:"kind" rpc:"required,enum=conformance_all_args|conformance_dotted_selected_args|conformance_numeric_boundaries|conformance_selected_args|conformance_simple"`
	Name                     string           `json:"name"`
	Now                      instant          `json:"now" rpc:"required"`
	Options                  uniqueKeyOptions `json:"options" rpc:"required"`
	Queue                    string           `json:"queue" rpc:"required"`
	ScheduledAt              *instant         `json:"scheduled_at" rpc:"nullable"`
	SelectedUniqueComponents [][]string       `json:"selected_unique_components"`
	SelectedUniquePaths      []string         `json:"selected_unique_paths" rpc:"nullable"`
}

type uniqueKeyResult struct {
	SHA256    string `json:"sha256"`
	StateMask int    `json:"state_mask"`
}

// uniqueKey inserts through River's client as far as the statement, which is not sent. The selected
// names are those of the kind's struct type.
func (s *server) uniqueKey(ctx context.Context, params uniqueKeyParams) (any, error) {
	opts := uniquekey.Options{
		UniqueOpts: river.UniqueOpts{
			ByArgs: params.Options.ByArgs, ByPeriod: time.Duration(params.Options.ByPeriodNanos),
			ByQueue: params.Options.ByQueue, ByState: params.Options.ByState, ExcludeKind: params.Options.ExcludeKind,
		},
		Now: params.Now.Time, Queue: params.Queue,
	}
	if params.ScheduledAt != nil {
		opts.ScheduledAt = params.ScheduledAt.Time
	}
	args, err := uniquekey.ArgsOf(params.Kind, params.Args)
	if err != nil {
		return nil, err
	}
	inserted, err := uniquekey.Of(ctx, args, opts)
	if err != nil {
		return nil, err
	}
	return uniqueKeyResult{hex.EncodeToString(inserted.UniqueKey), int(inserted.UniqueStates)}, nil
}
