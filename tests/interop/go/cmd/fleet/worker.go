package main

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/riverqueue/river"
)

// fleetArgs say what a job does; the Python class lists its fields alike.
type fleetArgs struct {
	Token      string `json:"token"`
	Behavior   string `json:"behavior"`
	DurationMS int64  `json:"duration_ms"`
	Failures   int    `json:"failures"`
}

func (fleetArgs) Kind() string { return "fleet" }

type fleetWorker struct {
	river.WorkerDefaults[fleetArgs]

	book *book
}

func (w *fleetWorker) NextRetry(*river.Job[fleetArgs]) time.Time {
	return time.Now().Add(100 * time.Millisecond)
}

func (w *fleetWorker) Work(ctx context.Context, job *river.Job[fleetArgs]) (err error) {
	if err := w.book.effect(ctx, job, "begin"); err != nil {
		return err
	}
	defer func() {
		value := recover()
		if logged := w.book.effect(ctx, job, phaseOf(err, value)); logged != nil && err == nil {
			err = logged
		}
		if value != nil {
			panic(value)
		}
	}()
	return work(ctx, job)
}

func phaseOf(err error, panicked any) string {
	var (
		cancelled *river.JobCancelError
		snoozed   *river.JobSnoozeError
	)
	switch {
	case panicked != nil:
		return "error"
	case err == nil:
		return "ok"
	case errors.As(err, &cancelled), errors.Is(err, context.Canceled):
		return "cancel"
	case errors.As(err, &snoozed):
		return "snooze"
	}
	return "error"
}

func work(ctx context.Context, job *river.Job[fleetArgs]) error {
	if err := pause(ctx, time.Duration(job.Args.DurationMS)*time.Millisecond); err != nil {
		return err
	}
	switch job.Args.Behavior {
	case "fail":
		if len(job.Errors) < job.Args.Failures {
			return errors.New("told to fail")
		}
	case "panic":
		if len(job.Errors) == 0 {
			panic("told to panic")
		}
	case "snooze":
		var metadata map[string]json.RawMessage
		if err := json.Unmarshal(job.Metadata, &metadata); err != nil {
			return err
		}
		if _, snoozed := metadata["snoozes"]; !snoozed {
			return river.JobSnooze(200 * time.Millisecond)
		}
	case "cancel":
		return river.JobCancel(errors.New("told to cancel"))
	case "wait":
		return pause(ctx, 3*time.Second)
	}
	return nil
}

func pause(ctx context.Context, duration time.Duration) error {
	select {
	case <-time.After(duration):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
