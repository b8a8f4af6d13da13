package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// remembered is the number of latest jobs among which one may be cancelled.
const remembered = 50

// load inserts and interferes until its time is over.
type load struct {
	book   *book
	client *river.Client[pgx.Tx]
	given  settings
	pool   *pgxpool.Pool
	random *rand.Rand
	latest []int64
	number int
}

func (l *load) run(ctx context.Context, ended <-chan struct{}) {
	until := time.Now().Add(time.Duration(l.given.InsertSeconds * float64(time.Second)))
	for time.Now().Before(until) {
		select {
		case <-ended:
			return
		case <-time.After(time.Duration(l.random.ExpFloat64() / l.given.InsertsPerSecond * float64(time.Second))):
		}
		if err := l.step(ctx); err != nil {
			// The next step may succeed; whether this one did is unknown, which the book allows.
			fmt.Fprintln(os.Stderr, "step:", err)
		}
	}
}

func (l *load) step(ctx context.Context) error {
	switch draw := l.random.IntN(100); {
	case draw < 6 && len(l.latest) > 0:
		_, err := l.client.JobCancel(ctx, l.latest[l.random.IntN(len(l.latest))])
		if errors.Is(err, rivertype.ErrNotFound) {
			return nil
		}
		return err
	case draw < 8:
		return l.pauseAWhile(ctx)
	case draw < 14:
		return l.insertMany(ctx)
	case draw < 18:
		return l.insertInTransaction(ctx, false)
	case draw < 24:
		return l.insertInTransaction(ctx, true)
	}
	return l.insert(ctx)
}

func (l *load) job() (fleetArgs, *river.InsertOpts) {
	l.number++
	args := fleetArgs{
		Token: fmt.Sprintf("%s-%d", l.given.Process, l.number), DurationMS: l.random.Int64N(500),
	}
	opts := &river.InsertOpts{
		Queue: l.given.Queues[l.random.IntN(len(l.given.Queues))], Priority: 1 + l.random.IntN(4), MaxAttempts: 10,
	}
	switch draw := l.random.IntN(100); {
	case draw < 14:
		args.Behavior, args.Failures = "fail", 1+l.random.IntN(2)
	case draw < 18:
		args.Behavior, args.Failures, opts.MaxAttempts = "fail", 100, 2
	case draw < 21:
		args.Behavior = "panic"
	case draw < 29:
		args.Behavior = "snooze"
	case draw < 33:
		args.Behavior = "cancel"
	case draw < 38:
		args.Behavior = "wait"
	}
	if l.random.IntN(10) == 0 {
		opts.ScheduledAt = time.Now().Add(time.Duration(l.random.IntN(3000)) * time.Millisecond)
	}
	return args, opts
}

func (l *load) insert(ctx context.Context) error {
	args, opts := l.job()
	if l.random.IntN(20) == 0 {
		opts.UniqueOpts = river.UniqueOpts{ByQueue: true, ByPeriod: time.Second}
	}
	if err := l.book.insert(ctx, args.Token, "try", nil); err != nil {
		return err
	}
	result, err := l.client.Insert(ctx, args, opts)
	if err != nil {
		return err
	}
	if result.UniqueSkippedAsDuplicate {
		return l.book.insert(ctx, args.Token, "skipped", &result.Job.ID)
	}
	return l.inserted(ctx, args, result.Job)
}

func (l *load) inserted(ctx context.Context, args fleetArgs, job *rivertype.JobRow) error {
	if err := l.book.insert(ctx, args.Token, "ok", &job.ID); err != nil {
		return err
	}
	l.latest = append(l.latest, job.ID)
	if len(l.latest) > remembered {
		l.latest = l.latest[1:]
	}
	if args.Behavior == "wait" {
		go func() {
			time.Sleep(700 * time.Millisecond)
			_, _ = l.client.JobCancel(ctx, job.ID)
		}()
	}
	return nil
}

func (l *load) insertMany(ctx context.Context) error {
	params, many := []river.InsertManyParams{}, []fleetArgs{}
	for range 1 + l.random.IntN(10) {
		args, opts := l.job()
		params, many = append(params, river.InsertManyParams{Args: args, InsertOpts: opts}), append(many, args)
		if err := l.book.insert(ctx, args.Token, "try", nil); err != nil {
			return err
		}
	}
	results, err := l.client.InsertMany(ctx, params)
	if err != nil {
		return err
	}
	for at, result := range results {
		if err := l.inserted(ctx, many[at], result.Job); err != nil {
			return err
		}
	}
	return nil
}

func (l *load) insertInTransaction(ctx context.Context, commit bool) error {
	args, opts := l.job()
	if err := l.book.insert(ctx, args.Token, "try", nil); err != nil {
		return err
	}
	var job *rivertype.JobRow
	if err := inTransaction(ctx, l.pool, commit, func(tx pgx.Tx) error {
		result, err := l.client.InsertTx(ctx, tx, args, opts)
		if err == nil {
			job = result.Job
		}
		return err
	}); err != nil {
		return err
	}
	if commit {
		return l.inserted(ctx, args, job)
	}
	return l.book.insert(ctx, args.Token, "rolled back", &job.ID)
}

func (l *load) pauseAWhile(ctx context.Context) error {
	if err := l.client.QueuePause(ctx, l.given.PausedQueue, nil); err != nil {
		return err
	}
	time.Sleep(time.Duration(100+l.random.IntN(500)) * time.Millisecond)
	return l.client.QueueResume(ctx, l.given.PausedQueue, nil)
}
