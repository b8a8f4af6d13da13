package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

const (
	defaultMaxWorkers = 4
	fetchCooldown     = time.Millisecond
	fetchPollInterval = 20 * time.Millisecond
	stopTimeout       = 30 * time.Second
	waitTimeout       = 20 * time.Second
	waitInterval      = 10 * time.Millisecond
)

func (s *server) runtimeMethods() map[string]handler {
	return map[string]handler{
		"barrier_create":  method(s.barrierCreate),
		"barrier_release": method(s.barrierRelease),
		"runtime_stats":   method(s.runtimeStats),
		"start":           method(s.start),
		"stop":            method(s.stop),
		"wait":            method(s.wait),
		"work":            method(s.work),
	}
}

type startParams struct {
	CancelledJobRetentionMS *int64   `json:"cancelled_job_retention_ms" rpc:"min=-1"`
	ClaimBarrier            string   `json:"claim_barrier" rpc:"nonempty"`
	ClientID                string   `json:"client_id" rpc:"required,nonempty"`
	CompletedJobRetentionMS *int64   `json:"completed_job_retention_ms" rpc:"min=-1"`
	DiscardedJobRetentionMS *int64   `json:"discarded_job_retention_ms" rpc:"min=-1"`
	ElectIntervalMS         int64    `json:"elect_interval_ms" rpc:"min=1"`
	ErrorHandlerCancel      bool     `json:"error_handler_cancel"`
	FetchPollIntervalMS     int64    `json:"fetch_poll_interval_ms" rpc:"min=1"`
	Instrumented            bool     `json:"instrumented"`
	JobCleanerIntervalMS    int64    `json:"job_cleaner_interval_ms" rpc:"min=1"`
	JobStuckThresholdMS     int64    `json:"job_stuck_threshold_ms" rpc:"min=1"`
	JobTimeoutDisabled      bool     `json:"job_timeout_disabled"`
	JobTimeoutMS            int64    `json:"job_timeout_ms" rpc:"min=1"`
	LeaderElectionDisabled  bool     `json:"leader_election_disabled"`
	MaxWorkers              int      `json:"max_workers" rpc:"min=1"`
	PeriodicRunOnStart      bool     `json:"periodic_run_on_start"`
	PeriodicUnique          bool     `json:"periodic_unique"`
	PollOnly                bool     `json:"poll_only"`
	Queue                   string   `json:"queue" rpc:"nonempty"`
	QueueCleanerIntervalMS  int64    `json:"queue_cleaner_interval_ms" rpc:"min=1"`
	ReindexerIndexNames     []string `json:"reindexer_index_names" rpc:"nonempty"`
	ReindexerIntervalMS     int64    `json:"reindexer_interval_ms" rpc:"min=1"`
	RescueAfterMS           int64    `json:"rescue_after_ms" rpc:"min=1"`
	RescuerIntervalMS       int64    `json:"rescuer_interval_ms" rpc:"min=1"`
	RetryDelayMS            *int64   `json:"retry_delay_ms" rpc:"min=0"`
	SchedulerIntervalMS     int64    `json:"scheduler_interval_ms" rpc:"min=1"`
	Schema                  string   `json:"schema"`
}

// runningClient is what start made and stop ends.
type runningClient struct {
	client    *river.Client[pgx.Tx]
	collected sync.WaitGroup
	pilot     *claimPilot
	schema    string
	unlisten  func()
}

func milliseconds(count int64) time.Duration { return time.Duration(count) * time.Millisecond }

func (s *server) start(ctx context.Context, params startParams) (any, error) {
	if s.running != nil {
		return nil, failure(codeRejected, "a client is started already")
	}
	if params.ElectIntervalMS > 0 || params.RescuerIntervalMS > 0 || params.SchedulerIntervalMS > 0 {
		return nil, failure(codeUnsupported, "River's released modules fix the elect, rescuer and scheduler intervals")
	}
	pilot := &claimPilot{stopped: make(chan struct{})}
	if params.ClaimBarrier != "" {
		gate, exists := s.barriers.gate(params.ClaimBarrier)
		if !exists {
			return nil, failure(codeInvalidParams, "params.claim_barrier: no barrier %q", params.ClaimBarrier)
		}
		pilot.barrier = gate
	}
	observed := &probe{}
	config, err := s.config(params, observed)
	if err != nil {
		return nil, err
	}
	client, err := river.NewClient(newWorkDriver(s.pool, s.listeners, pilot), config)
	if err != nil {
		return nil, err
	}
	running := &runningClient{client: client, pilot: pilot, schema: params.Schema}
	events, unlisten := client.SubscribeConfig(&river.SubscribeConfig{ChanSize: 100_000, Kinds: eventKinds})
	running.unlisten = unlisten
	running.collected.Go(func() {
		for event := range events {
			observed.add(func(p *probe) { p.events = append(p.events, string(event.Kind)) })
		}
	})
	if err := client.Start(context.WithoutCancel(ctx)); err != nil {
		unlisten()
		return nil, err
	}
	s.running, s.probe = running, observed
	return empty{}, nil
}

func (s *server) workers(observed *probe) *river.Workers {
	workers := river.NewWorkers()
	river.AddWorker(workers, &echoWorker{barriers: s.barriers, pool: s.pool, probe: observed})
	return workers
}

func (s *server) config(params startParams, observed *probe) (*river.Config, error) {
	queue, maxWorkers := params.Queue, params.MaxWorkers
	if queue == "" {
		queue = river.QueueDefault
	}
	if maxWorkers == 0 {
		maxWorkers = defaultMaxWorkers
	}
	config := &river.Config{
		// River's cooldown of 100 ms would swallow the notification of a second insert.
		FetchCooldown:     fetchCooldown,
		FetchPollInterval: fetchPollInterval,
		Hooks:             []rivertype.Hook{&periodicStarts{probe: observed}},
		ID:                params.ClientID,
		JobStuckHandler: func(context.Context, river.JobStuckHandlerParams) river.JobStuckHandlerResult {
			observed.add(func(p *probe) { p.stuckJobs++ })
			return river.JobStuckHandlerResult{}
		},
		JobStuckThreshold:      milliseconds(params.JobStuckThresholdMS),
		JobTimeout:             milliseconds(params.JobTimeoutMS),
		LeaderElectionDisabled: params.LeaderElectionDisabled,
		Logger:                 logger(),
		PollOnly:               params.PollOnly,
		Queues:                 map[string]river.QueueConfig{queue: {MaxWorkers: maxWorkers}},
		ReindexerIndexNames:    params.ReindexerIndexNames,
		RescueStuckJobsAfter:   milliseconds(params.RescueAfterMS),
		Schema:                 params.Schema,
		Workers:                s.workers(observed),
		// Without it maintenance begins up to a second late, at random.
		TestOnly: true,
	}
	if params.FetchPollIntervalMS > 0 {
		config.FetchPollInterval = milliseconds(params.FetchPollIntervalMS)
	}
	if params.ErrorHandlerCancel {
		config.ErrorHandler = &errorHandler{probe: observed}
	}
	if params.JobTimeoutDisabled {
		config.JobTimeout = -1
	}
	if params.ReindexerIntervalMS > 0 {
		config.ReindexerSchedule = river.PeriodicInterval(milliseconds(params.ReindexerIntervalMS))
	}
	if params.RetryDelayMS != nil {
		config.RetryPolicy = fixedRetry(milliseconds(*params.RetryDelayMS))
	}
	if params.Instrumented {
		config.Hooks = append(config.Hooks, &instruments{probe: observed})
		config.Middleware = []rivertype.Middleware{&tracingMiddleware{probe: observed}}
	}
	retain := func(given *int64, target *time.Duration) {
		switch {
		case given == nil:
		case *given == -1:
			*target = -1
		default:
			*target = max(milliseconds(*given), 1)
		}
	}
	retain(params.CancelledJobRetentionMS, &config.CancelledJobRetentionPeriod)
	retain(params.CompletedJobRetentionMS, &config.CompletedJobRetentionPeriod)
	retain(params.DiscardedJobRetentionMS, &config.DiscardedJobRetentionPeriod)
	if params.PeriodicUnique && !params.PeriodicRunOnStart {
		return nil, failure(codeRejected, "periodic_unique needs periodic_run_on_start")
	}
	if params.PeriodicRunOnStart {
		config.PeriodicJobs = periodicJobs(params.PeriodicUnique)
	}
	return config, nil
}

func periodicJobs(unique bool) []*river.PeriodicJob {
	job := func(id, message string, opts *river.InsertOpts) *river.PeriodicJob {
		return river.NewPeriodicJob(
			river.PeriodicInterval(time.Hour),
			func() (river.JobArgs, *river.InsertOpts) { return echoArgs{Message: message}, opts },
			&river.PeriodicJobOpts{ID: id, RunOnStart: true},
		)
	}
	if !unique {
		return []*river.PeriodicJob{job("conformance-periodic", "periodic run on start", nil)}
	}
	return []*river.PeriodicJob{
		job("conformance-periodic", "periodic run on start", &river.InsertOpts{
			UniqueOpts: river.UniqueOpts{ByArgs: true, ByQueue: true},
		}),
		job("conformance-periodic-marker", "periodic marker", nil),
	}
}

type fixedRetry time.Duration

func (d fixedRetry) NextRetry(*rivertype.JobRow) time.Time { return time.Now().Add(time.Duration(d)) }

type stopParams struct {
	Cancel bool `json:"cancel"`
}

func (s *server) stop(ctx context.Context, params stopParams) (any, error) {
	running := s.running
	if running == nil {
		return nil, failure(codeRejected, "no client is started")
	}
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	select {
	case <-running.pilot.stopped:
	default:
		close(running.pilot.stopped)
	}
	stop := running.client.Stop
	if params.Cancel {
		stop = running.client.StopAndCancel
	}
	if err := stop(ctx); err != nil {
		return nil, failure(codeRejected, "the client did not stop within %s: %v", stopTimeout, err)
	}
	s.running = nil
	running.unlisten()
	running.collected.Wait()
	return empty{}, nil
}

type waitParams struct {
	idParams
	States []rivertype.JobState `json:"states" rpc:"enum=state"`
}

func (s *server) wait(ctx context.Context, params waitParams) (any, error) {
	states := params.States
	if len(states) == 0 {
		states = []rivertype.JobState{
			rivertype.JobStateCancelled, rivertype.JobStateCompleted, rivertype.JobStateDiscarded,
		}
	}
	schema := ""
	if s.running != nil {
		schema = s.running.schema
	}
	client, err := s.client(schema)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(waitTimeout)
	for {
		job, err := client.JobGet(ctx, params.ID)
		if err != nil {
			return nil, err
		}
		if slices.Contains(states, job.State) {
			return normalJob(job), nil
		}
		if time.Now().After(deadline) {
			return nil, failure(codeRejected, "job %d is %s, not one of %v, after %s", params.ID, job.State, states, waitTimeout)
		}
		time.Sleep(waitInterval)
	}
}

type workParams struct {
	idParams
	schemaParams
	ClientID string `json:"client_id" rpc:"nonempty"`
}

// work starts a client on the job's queue and stops it once the job had an outcome.
func (s *server) work(ctx context.Context, params workParams) (any, error) {
	reader, err := s.client(params.Schema)
	if err != nil {
		return nil, err
	}
	job, err := reader.JobGet(ctx, params.ID)
	if err != nil {
		return nil, err
	}
	observed := &probe{}
	client, err := river.NewClient(newWorkDriver(s.pool, s.listeners, &claimPilot{}), &river.Config{
		ID: params.ClientID, Logger: logger(), Schema: params.Schema, Workers: s.workers(observed),
		Queues:   map[string]river.QueueConfig{job.Queue: {MaxWorkers: 1}},
		TestOnly: true,
	})
	if err != nil {
		return nil, err
	}
	events, unlisten := client.SubscribeConfig(&river.SubscribeConfig{ChanSize: 1_000, Kinds: eventKinds})
	defer unlisten()
	if err := client.Start(context.WithoutCancel(ctx)); err != nil {
		return nil, err
	}
	worked := waitForEvent(events, params.ID)
	stopping, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	if err := client.StopAndCancel(stopping); err != nil {
		return nil, err
	}
	if !worked {
		return nil, failure(codeRejected, "job %d was not worked within %s", params.ID, waitTimeout)
	}
	return normalized(reader.JobGet(ctx, params.ID))
}

func waitForEvent(events <-chan *river.Event, id int64) bool {
	timeout := time.After(waitTimeout)
	for {
		select {
		case event := <-events:
			if event != nil && event.Job != nil && event.Job.ID == id {
				return true
			}
		case <-timeout:
			return false
		}
	}
}
