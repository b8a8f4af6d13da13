// Fleet is one Go client of the fleet test: it inserts jobs at random, works those of everybody,
// cancels some, pauses a queue now and then, and writes down what it does in tables of the test.
// It ends when its standard input does.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

// settings are the same for the Go and the Python clients.
type settings struct {
	URL              string   `json:"url"`
	ClientID         string   `json:"client_id"`
	Process          string   `json:"process"`
	Seed             uint64   `json:"seed"`
	InsertSeconds    float64  `json:"insert_seconds"`
	InsertsPerSecond float64  `json:"inserts_per_second"`
	JobTimeoutMS     int64    `json:"job_timeout_ms"`
	RescueAfterMS    int64    `json:"rescue_after_ms"`
	MaxWorkers       int      `json:"max_workers"`
	Queues           []string `json:"queues"`
	PausedQueue      string   `json:"paused_queue"`
}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var given settings
	if err := json.Unmarshal([]byte(os.Getenv("FLEET_SETTINGS")), &given); err != nil {
		return fmt.Errorf("FLEET_SETTINGS: %w", err)
	}
	pool, err := openPool(ctx, given.URL, given.ClientID, 8)
	if err != nil {
		return err
	}
	defer pool.Close()
	// What is written down must not wait for, or end with, a transaction of the queue.
	logPool, err := openPool(ctx, given.URL, given.ClientID+" log", 3)
	if err != nil {
		return err
	}
	defer logPool.Close()
	book := &book{given: given, pool: logPool}

	workers := river.NewWorkers()
	river.AddWorker(workers, &fleetWorker{book: book})
	queues := map[string]river.QueueConfig{}
	for _, queue := range given.Queues {
		queues[queue] = river.QueueConfig{MaxWorkers: given.MaxWorkers}
	}
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		FetchPollInterval:    500 * time.Millisecond,
		ID:                   given.ClientID,
		JobTimeout:           time.Duration(given.JobTimeoutMS) * time.Millisecond,
		Logger:               slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
		Queues:               queues,
		RescueStuckJobsAfter: time.Duration(given.RescueAfterMS) * time.Millisecond,
		Workers:              workers,
	})
	if err != nil {
		return err
	}
	if err := client.Start(ctx); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	load := &load{book: book, client: client, given: given, pool: pool, random: rand.New(rand.NewPCG(given.Seed, 0))}
	load.run(ctx, ended)
	<-ended
	stopping, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return client.Stop(stopping)
}

func openPool(ctx context.Context, url, application string, size int32) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.MaxConns = size
	config.ConnConfig.RuntimeParams["application_name"] = application
	return pgxpool.NewWithConfig(ctx, config)
}

// book writes into the test's tables, each row by itself.
type book struct {
	given settings
	pool  *pgxpool.Pool
}

func (b *book) effect(ctx context.Context, job *river.Job[fleetArgs], phase string) error {
	_, err := b.pool.Exec(context.WithoutCancel(ctx), `
		INSERT INTO fleet_effect (job_id, attempt, attempted_at, client_id, process, language, phase)
		VALUES ($1, $2, $3, $4, $5, 'go', $6)`,
		job.ID, job.Attempt, job.AttemptedAt, b.given.ClientID, b.given.Process, phase)
	return err
}

func (b *book) insert(ctx context.Context, token, phase string, id *int64) error {
	_, err := b.pool.Exec(ctx, `
		INSERT INTO fleet_insert (token, client_id, language, phase, job_id) VALUES ($1, $2, 'go', $3, $4)`,
		token, b.given.ClientID, phase, id)
	return err
}

var _ river.JobArgs = fleetArgs{}

// inTransaction runs act and commits or rolls back.
func inTransaction(ctx context.Context, pool *pgxpool.Pool, commit bool, act func(pgx.Tx) error) error {
	tx, err := pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if err := act(tx); err != nil {
		return err
	}
	if commit {
		return tx.Commit(ctx)
	}
	return tx.Rollback(ctx)
}
