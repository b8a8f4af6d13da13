package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

const echoKind = "conformance_echo"

var behaviors = []string{
	"", "barrier_output", "barrier_wait", "cancel", "cancel_error", "cancel_panic", "cooperative_cancel",
	"discard", "error", "ignored_cancel", "output", "panic", "resumable", "resumable_cursor",
	"resumable_duplicate", "sleep", "snooze_once", "snooze_then_cancel", "transactional_complete",
}

// echoArgs are the args of the one kind that every implementation works.
type echoArgs struct {
	Behavior   string `json:"behavior"`
	DurationMS int64  `json:"duration_ms"`
	Message    string `json:"message"`
}

func (echoArgs) Kind() string { return echoKind }

type echoWorker struct {
	river.WorkerDefaults[echoArgs]

	barriers *barriers
	pool     *pgxpool.Pool
	probe    *probe
}

func (w *echoWorker) Work(ctx context.Context, job *river.Job[echoArgs]) error {
	duration := time.Duration(job.Args.DurationMS) * time.Millisecond
	switch job.Args.Behavior {
	case "":
		return nil
	case "error":
		return errors.New("conformance retryable error")
	case "panic":
		panic("conformance worker panic")
	case "cancel":
		return river.JobCancel(errors.New("conformance worker cancelled the job"))
	case "discard":
		return errors.New("conformance discarded error")
	case "snooze_once", "snooze_then_cancel":
		return w.snooze(ctx, job, duration)
	case "output":
		return river.RecordOutput(ctx, map[string]string{"message": job.Args.Message})
	case "sleep":
		select {
		case <-time.After(duration):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	case "barrier_wait", "barrier_output":
		if err := w.barriers.wait(ctx, job.Args.Message); err != nil {
			return err
		}
		if job.Args.Behavior == "barrier_output" {
			return river.RecordOutput(ctx, map[string]string{"race": "worker"})
		}
		return nil
	case "cooperative_cancel":
		if ctx.Err() != nil {
			w.probe.add(func(p *probe) { p.cancelledAtStart++ })
		}
		<-ctx.Done()
		return ctx.Err()
	case "cancel_error":
		<-ctx.Done()
		return errors.New("conformance error after cancellation")
	case "cancel_panic":
		<-ctx.Done()
		panic("conformance panic after cancellation")
	case "ignored_cancel":
		select {}
	case "resumable", "resumable_duplicate":
		return w.resume(ctx, job)
	case "resumable_cursor":
		return w.resumeCursor(ctx, job)
	case "transactional_complete":
		return w.completeInTransaction(ctx, job)
	}
	return fmt.Errorf("unknown behavior %q", job.Args.Behavior)
}

func (w *echoWorker) snooze(ctx context.Context, job *river.Job[echoArgs], duration time.Duration) error {
	var metadata map[string]json.RawMessage
	if err := json.Unmarshal(job.Metadata, &metadata); err != nil {
		return err
	}
	if _, snoozed := metadata["snoozes"]; !snoozed {
		return river.JobSnooze(max(duration, time.Millisecond))
	}
	if job.Args.Behavior == "snooze_once" {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (w *echoWorker) resume(ctx context.Context, job *river.Job[echoArgs]) error {
	river.ResumableStep(ctx, "first", nil, func(context.Context) error {
		w.probe.add(func(p *probe) { p.resumableFirstRuns++ })
		return nil
	})
	second := "second"
	if job.Args.Behavior == "resumable_duplicate" {
		second = "first"
	}
	river.ResumableStep(ctx, second, nil, func(context.Context) error {
		w.probe.add(func(p *probe) { p.resumableSecondRuns++ })
		if job.Attempt == 1 {
			return errors.New("conformance resumable step fails once")
		}
		return nil
	})
	return nil
}

func (w *echoWorker) resumeCursor(ctx context.Context, job *river.Job[echoArgs]) error {
	const reached = 7
	river.ResumableStep(ctx, "first", nil, func(ctx context.Context) error {
		return river.MetadataSet(ctx, "first_attempt", job.Attempt)
	})
	river.ResumableStepCursor(ctx, "second", nil, func(ctx context.Context, cursor int) error {
		if job.Attempt == 1 {
			if err := river.ResumableSetCursor(ctx, reached); err != nil {
				return err
			}
			return errors.New("conformance cursor step fails once")
		}
		if cursor != reached {
			return fmt.Errorf("the cursor is %d, not %d", cursor, reached)
		}
		return river.MetadataSet(ctx, "cursor_observed", cursor)
	})
	river.ResumableStep(ctx, "third", nil, func(context.Context) error {
		if job.Attempt == 2 {
			return errors.New("conformance third step fails once")
		}
		return nil
	})
	return nil
}

func (w *echoWorker) completeInTransaction(ctx context.Context, job *river.Job[echoArgs]) error {
	if err := river.MetadataSet(ctx, "transactional_completion", true); err != nil {
		return err
	}
	tx, err := w.pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if _, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job); err != nil {
		return err
	}
	return tx.Commit(ctx)
}
