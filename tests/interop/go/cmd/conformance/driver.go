package main

import (
	"context"
	"sync"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivershared/baseservice"
	"github.com/riverqueue/river/rivershared/riverpilot"
)

// listenConnections is the size of the pool that listeners alone take their connections from, so
// that they can be counted and cut.
const listenConnections = 4

// workDriver is River's driver with listeners on a pool of their own and a pilot that may hold the
// first claim.
type workDriver struct {
	*riverpgxv5.Driver

	listeners *pgxpool.Pool
	pilot     *claimPilot
}

func newWorkDriver(pool, listeners *pgxpool.Pool, pilot *claimPilot) *workDriver {
	return &workDriver{Driver: riverpgxv5.New(pool), listeners: listeners, pilot: pilot}
}

func (d *workDriver) GetListener(params *riverdriver.GetListenenerParams) riverdriver.Listener {
	return riverpgxv5.New(d.listeners).GetListener(params)
}

func (d *workDriver) PluginInit(*baseservice.Archetype) {}

func (d *workDriver) PluginPilot() riverpilot.Pilot { return d.pilot }

// claimPilot keeps the jobs of the first claim back until the barrier is released or the client
// stops.
type claimPilot struct {
	riverpilot.StandardPilot

	barrier <-chan struct{}
	stopped chan struct{}
	once    sync.Once
}

func (p *claimPilot) JobGetAvailable(
	ctx context.Context, exec riverdriver.Executor, state riverpilot.ProducerState,
	params *riverdriver.JobGetAvailableParams,
) (*riverdriver.JobGetAvailableResult, error) {
	result, err := p.StandardPilot.JobGetAvailable(ctx, exec, state, params)
	if err == nil && p.barrier != nil && len(result.Jobs) > 0 {
		p.once.Do(func() {
			select {
			case <-p.barrier:
			case <-p.stopped:
			}
		})
	}
	return result, err
}

// silentDriver inserts without notifying anybody.
type silentDriver struct{ *riverpgxv5.Driver }

func (silentDriver) SupportsListenNotify() bool { return false }

func (silentDriver) SupportsListener() bool { return false }
