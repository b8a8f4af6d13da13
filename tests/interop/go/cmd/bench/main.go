// Command bench is Go River's side of the benchmarks: it does one scenario on a prepared database
// and prints one JSON object.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

type benchArgs struct {
	Number int `json:"number"`
}

func (benchArgs) Kind() string { return "bench" }

type worker struct {
	river.WorkerDefaults[benchArgs]

	began chan time.Time
	count atomic.Int64
	total int64
	done  chan struct{}
}

func (w *worker) Work(context.Context, *river.Job[benchArgs]) error {
	if w.began != nil {
		w.began <- time.Now()
	}
	if w.count.Add(1) == w.total {
		close(w.done)
	}
	return nil
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}

func drain(ctx context.Context, pool *pgxpool.Pool, client *river.Client[pgx.Tx], w *worker) (any, error) {
	cpu, start := cpuSeconds(), time.Now()
	if err := client.Start(ctx); err != nil {
		return nil, err
	}
	<-w.done
	for {
		var left bool
		err := pool.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM river_job WHERE state IN ('available', 'running'))").Scan(&left)
		if err != nil {
			return nil, err
		}
		if !left {
			break
		}
		time.Sleep(2 * time.Millisecond)
	}
	result := map[string]float64{"seconds": time.Since(start).Seconds(), "cpu_seconds": cpuSeconds() - cpu}
	return result, client.Stop(ctx)
}

func latency(ctx context.Context, client *river.Client[pgx.Tx], w *worker, jobs int, pause time.Duration) (any, error) {
	if err := client.Start(ctx); err != nil {
		return nil, err
	}
	time.Sleep(2 * time.Second)
	waits := make([]float64, 0, jobs)
	for number := range jobs {
		time.Sleep(pause)
		start := time.Now()
		if _, err := client.Insert(ctx, benchArgs{Number: number}, nil); err != nil {
			return nil, err
		}
		began := <-w.began
		waits = append(waits, float64(began.Sub(start).Microseconds())/1000)
	}
	return map[string]any{"milliseconds": waits}, client.Stop(ctx)
}

func insert(ctx context.Context, client *river.Client[pgx.Tx], jobs int) (any, error) {
	for number := range jobs / 10 {
		if _, err := client.Insert(ctx, benchArgs{Number: number}, nil); err != nil {
			return nil, err
		}
	}
	cpu, start := cpuSeconds(), time.Now()
	for number := range jobs {
		if _, err := client.Insert(ctx, benchArgs{Number: number}, nil); err != nil {
			return nil, err
		}
	}
	return map[string]float64{"seconds": time.Since(start).Seconds(), "cpu_seconds": cpuSeconds() - cpu}, nil
}

func run() error {
	url := flag.String("url", "", "database")
	jobs := flag.Int("jobs", 0, "number of jobs")
	workers := flag.Int("workers", 100, "jobs at a time")
	cooldown := flag.Duration("cooldown", 0, "fetch cooldown, 0 for River's")
	pause := flag.Duration("pause", 0, "between the jobs of latency")
	flag.Parse()
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, *url)
	if err != nil {
		return err
	}
	defer pool.Close()
	w := &worker{total: int64(*jobs), done: make(chan struct{})}
	bundle := river.NewWorkers()
	river.AddWorker(bundle, w)
	config := &river.Config{
		FetchCooldown: *cooldown,
		Logger:        slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
		Workers:       bundle,
	}
	scenario := flag.Arg(0)
	if scenario != "insert" {
		config.Queues = map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: *workers}}
	}
	if scenario == "latency" {
		w.began = make(chan time.Time, 1)
	}
	client, err := river.NewClient(riverpgxv5.New(pool), config)
	if err != nil {
		return err
	}
	var result any
	switch scenario {
	case "drain":
		result, err = drain(ctx, pool, client, w)
	case "latency":
		result, err = latency(ctx, client, w, *jobs, *pause)
	case "insert":
		result, err = insert(ctx, client, *jobs)
	default:
		err = fmt.Errorf("no scenario %q", scenario)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
