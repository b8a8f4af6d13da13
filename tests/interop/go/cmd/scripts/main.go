// Scripts works the queue named by its argument: jobs whose args say which resumable steps to run and
// how they end, or what to log. It ends when its standard input does.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/riverlog"
	"github.com/riverqueue/river/rivertype"
)

type step struct {
	Name       string `json:"name"`
	Cursor     bool   `json:"cursor"`
	Set        *int   `json:"set"`
	Nested     string `json:"nested"`
	Checkpoint string `json:"checkpoint"`
	Rollback   bool   `json:"rollback"`
	Fail       bool   `json:"fail"`
}

type scriptArgs struct {
	Steps []step `json:"steps"`
	End   string `json:"end"`
}

func (scriptArgs) Kind() string { return "resumable_script" }

type scriptWorker struct {
	river.WorkerDefaults[scriptArgs]

	pool *pgxpool.Pool
}

func (w *scriptWorker) Work(ctx context.Context, job *river.Job[scriptArgs]) error {
	seen := []string{}
	for _, each := range job.Args.Steps {
		if each.Cursor {
			river.ResumableStepCursor(ctx, each.Name, nil, func(ctx context.Context, cursor int) error {
				seen = append(seen, fmt.Sprintf("%s %d", each.Name, cursor))
				return w.run(ctx, job, each)
			})
		} else {
			river.ResumableStep(ctx, each.Name, nil, func(ctx context.Context) error {
				seen = append(seen, each.Name)
				return w.run(ctx, job, each)
			})
		}
	}
	if err := river.RecordOutput(ctx, seen); err != nil {
		return err
	}
	switch job.Args.End {
	case "error":
		return errors.New("attempt failed")
	case "cancel":
		return river.JobCancel(errors.New("enough"))
	case "snooze":
		return river.JobSnooze(time.Hour)
	}
	return nil
}

func (w *scriptWorker) run(ctx context.Context, job *river.Job[scriptArgs], each step) error {
	if each.Set != nil {
		if err := river.ResumableSetCursor(ctx, *each.Set); err != nil {
			return err
		}
	}
	if each.Nested != "" {
		river.ResumableStep(ctx, each.Nested, nil, func(context.Context) error { return nil })
	}
	if each.Checkpoint != "" {
		err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
			var err error
			if each.Checkpoint == "cursor" {
				_, err = river.ResumableSetStepCursorTx[*riverpgxv5.Driver](ctx, tx, job, 99)
			} else {
				_, err = river.ResumableSetStepTx[*riverpgxv5.Driver](ctx, tx, job)
			}
			if err == nil && each.Rollback {
				err = errors.New("rolled back")
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	if each.Fail {
		return errors.New("step failed")
	}
	return nil
}

type logArgs struct {
	Text string `json:"text"`
}

func (logArgs) Kind() string { return "log_script" }

type logKey struct{}

type logWorker struct {
	river.WorkerDefaults[logArgs]
}

func (*logWorker) Work(ctx context.Context, job *river.Job[logArgs]) error {
	_, err := io.WriteString(ctx.Value(logKey{}).(io.Writer), job.Args.Text)
	return err
}

func withLog(ctx context.Context, writer io.Writer) context.Context {
	return context.WithValue(ctx, logKey{}, writer)
}

func main() {
	if err := work(context.Background(), os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func work(ctx context.Context, url, queue string) error {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return err
	}
	defer pool.Close()
	workers := river.NewWorkers()
	river.AddWorker(workers, &scriptWorker{pool: pool})
	river.AddWorker(workers, &logWorker{})
	limits := &riverlog.MiddlewareConfig{MaxSizeBytes: 100, MaxTotalBytes: 300}
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		FetchPollInterval: 100 * time.Millisecond,
		Logger:            slog.New(slog.NewTextHandler(io.Discard, nil)),
		Middleware:        []rivertype.Middleware{riverlog.NewMiddlewareCustomContext(withLog, limits)},
		Queues:            map[string]river.QueueConfig{queue: {MaxWorkers: 4}},
		Workers:           workers,
	})
	if err != nil {
		return err
	}
	if err := client.Start(ctx); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	return client.Stop(ctx)
}
