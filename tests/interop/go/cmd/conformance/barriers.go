package main

import (
	"context"
	"fmt"
	"sync"
)

// barriers are named gates that jobs wait at. A released one lets pass whoever comes later, and may
// be created again.
type barriers struct {
	mutex sync.Mutex
	gates map[string]chan struct{}
	open  map[string]bool
}

func newBarriers() *barriers {
	return &barriers{gates: map[string]chan struct{}{}, open: map[string]bool{}}
}

func (b *barriers) create(name string) bool {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if b.closed(name) {
		return false
	}
	b.gates[name], b.open[name] = make(chan struct{}), false
	return true
}

func (b *barriers) closed(name string) bool {
	_, exists := b.gates[name]
	return exists && !b.open[name]
}

// clear lets everybody pass and forgets all names.
func (b *barriers) clear() {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	for name, gate := range b.gates {
		if b.closed(name) {
			close(gate)
		}
	}
	clear(b.gates)
	clear(b.open)
}

func (b *barriers) release(name string) bool {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if !b.closed(name) {
		return false
	}
	b.open[name] = true
	close(b.gates[name])
	return true
}

// gate gives the channel that closes on release; false when no barrier of the name was created.
func (b *barriers) gate(name string) (chan struct{}, bool) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	gate, exists := b.gates[name]
	return gate, exists
}

func (b *barriers) wait(ctx context.Context, name string) error {
	gate, exists := b.gate(name)
	if !exists {
		return fmt.Errorf("no barrier %q", name)
	}
	select {
	case <-gate:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *server) barrierCreate(_ context.Context, params nameParams) (any, error) {
	if !s.barriers.create(params.Name) {
		return nil, failure(codeRejected, "barrier %q exists already", params.Name)
	}
	return empty{}, nil
}

func (s *server) barrierRelease(_ context.Context, params nameParams) (any, error) {
	if !s.barriers.release(params.Name) {
		return nil, failure(codeNotFound, "no barrier %q", params.Name)
	}
	return empty{}, nil
}
