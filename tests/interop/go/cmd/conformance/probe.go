package main

import (
	"context"
	"sync"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// probe collects what runtime_stats reports of one start.
type probe struct {
	mutex               sync.Mutex
	cancelledAtStart    int
	errorHandlerCalls   int
	events              []string
	periodicStarts      int
	resumableFirstRuns  int
	resumableSecondRuns int
	stuckJobs           int
	trace               []string
}

func (p *probe) add(change func(*probe)) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	change(p)
}

func (p *probe) mark(step string) { p.add(func(p *probe) { p.trace = append(p.trace, step) }) }

type statsResult struct {
	CancelledAtStart    int      `json:"cancelled_at_start"`
	ErrorHandlerCalls   int      `json:"error_handler_calls"`
	Events              []string `json:"events"`
	PeriodicStarts      int      `json:"periodic_starts"`
	ResumableFirstRuns  int      `json:"resumable_first_runs"`
	ResumableSecondRuns int      `json:"resumable_second_runs"`
	StuckJobs           int      `json:"stuck_jobs"`
	Trace               []string `json:"trace"`
}

func (s *server) runtimeStats(context.Context, noParams) (any, error) {
	p := s.probe
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return statsResult{
		CancelledAtStart: p.cancelledAtStart, ErrorHandlerCalls: p.errorHandlerCalls,
		Events: append([]string{}, p.events...), PeriodicStarts: p.periodicStarts,
		ResumableFirstRuns: p.resumableFirstRuns, ResumableSecondRuns: p.resumableSecondRuns,
		StuckJobs: p.stuckJobs, Trace: append([]string{}, p.trace...),
	}, nil
}

var eventKinds = []river.EventKind{
	river.EventKindJobCancelled, river.EventKindJobCompleted, river.EventKindJobFailed,
	river.EventKindJobInterrupted, river.EventKindJobSnoozed, river.EventKindQueuePaused,
	river.EventKindQueueResumed,
}

// instruments trace the order of hooks and middleware.
type instruments struct {
	river.HookDefaults

	probe *probe
}

func (i *instruments) InsertBegin(context.Context, *rivertype.JobInsertParams) error {
	i.probe.mark("hook:insert_begin")
	return nil
}

func (i *instruments) WorkBegin(context.Context, *rivertype.JobRow) error {
	i.probe.mark("hook:work_begin")
	return nil
}

func (i *instruments) WorkEnd(_ context.Context, _ *rivertype.JobRow, err error) error {
	i.probe.mark("hook:work_end")
	return err
}

type tracingMiddleware struct {
	river.MiddlewareDefaults

	probe *probe
}

func (m *tracingMiddleware) InsertMany(
	ctx context.Context, _ []*rivertype.JobInsertParams,
	inner func(context.Context) ([]*rivertype.JobInsertResult, error),
) ([]*rivertype.JobInsertResult, error) {
	m.probe.mark("middleware:insert_before")
	results, err := inner(ctx)
	m.probe.mark("middleware:insert_after")
	return results, err
}

func (m *tracingMiddleware) Work(ctx context.Context, _ *rivertype.JobRow, inner func(context.Context) error) error {
	m.probe.mark("middleware:work_before")
	err := inner(ctx)
	m.probe.mark("middleware:work_after")
	return err
}

// periodicStarts counts how often this client began to enqueue periodic jobs as the leader.
type periodicStarts struct {
	river.HookDefaults

	probe *probe
}

func (h *periodicStarts) Start(context.Context, *rivertype.HookPeriodicJobsStartParams) error {
	h.probe.add(func(p *probe) { p.periodicStarts++ })
	return nil
}

// errorHandler counts failed attempts and cancels their jobs.
type errorHandler struct{ probe *probe }

func (h *errorHandler) HandleError(context.Context, *rivertype.JobRow, error) *river.ErrorHandlerResult {
	return h.handle()
}

func (h *errorHandler) HandlePanic(context.Context, *rivertype.JobRow, any, string) *river.ErrorHandlerResult {
	return h.handle()
}

func (h *errorHandler) handle() *river.ErrorHandlerResult {
	h.probe.add(func(p *probe) { p.errorHandlerCalls++ })
	return &river.ErrorHandlerResult{SetCancelled: true}
}
