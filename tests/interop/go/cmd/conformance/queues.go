package main

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

func (s *server) queueMethods() map[string]handler {
	return map[string]handler{
		"queue_get":    method(s.queueGet),
		"queue_list":   method(s.queueList),
		"queue_pause":  method(s.queuePause),
		"queue_resume": method(s.queueResume),
		"queue_update": method(s.queueUpdate),
		"queue_add":    method(s.queueAdd),
		"queue_remove": method(s.queueRemove),
	}
}

type nameParams struct {
	Name string `json:"name" rpc:"required,nonempty"`
}

func normalizedQueue(queue *rivertype.Queue, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return normalQueue(queue), nil
}

func (s *server) queueGet(ctx context.Context, params nameParams) (any, error) {
	client, err := s.client("")
	if err != nil {
		return nil, err
	}
	return normalizedQueue(client.QueueGet(ctx, params.Name))
}

type queueListParams struct {
	Limit int `json:"limit" rpc:"min=1"`
}

func (p queueListParams) river() (*river.QueueListParams, error) {
	params := river.NewQueueListParams()
	if p.Limit > maxLimit {
		return nil, failure(codeRejected, "limit must be at most %d", maxLimit)
	}
	if p.Limit > 0 {
		params = params.First(p.Limit)
	}
	return params, nil
}

type queuesResult struct {
	Queues []queueValue `json:"queues"`
}

func normalQueues(result *river.QueueListResult, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	value := queuesResult{Queues: []queueValue{}}
	for _, queue := range result.Queues {
		value.Queues = append(value.Queues, normalQueue(queue))
	}
	return value, nil
}

func (s *server) queueList(ctx context.Context, params queueListParams) (any, error) {
	client, err := s.client("")
	if err != nil {
		return nil, err
	}
	filter, err := params.river()
	if err != nil {
		return nil, err
	}
	return normalQueues(client.QueueList(ctx, filter))
}

func (s *server) queuePause(ctx context.Context, params nameParams) (any, error) {
	client, err := s.client("")
	if err != nil {
		return nil, err
	}
	return empty{}, client.QueuePause(ctx, params.Name, nil)
}

func (s *server) queueResume(ctx context.Context, params nameParams) (any, error) {
	client, err := s.client("")
	if err != nil {
		return nil, err
	}
	return empty{}, client.QueueResume(ctx, params.Name, nil)
}

type queueUpdateParams struct {
	nameParams
	Metadata json.RawMessage `json:"metadata" rpc:"object"`
}

func (s *server) queueUpdate(ctx context.Context, params queueUpdateParams) (any, error) {
	client, err := s.client("")
	if err != nil {
		return nil, err
	}
	return normalizedQueue(client.QueueUpdate(ctx, params.Name, &river.QueueUpdateParams{Metadata: params.Metadata}))
}

type queueAddParams struct {
	nameParams
	MaxWorkers int `json:"max_workers" rpc:"min=1"`
}

func (s *server) startedClient() (*river.Client[pgx.Tx], error) {
	if s.running == nil {
		return nil, failure(codeRejected, "no client is started")
	}
	return s.running.client, nil
}

func (s *server) queueAdd(ctx context.Context, params queueAddParams) (any, error) {
	client, err := s.startedClient()
	if err != nil {
		return nil, err
	}
	config := river.QueueConfig{MaxWorkers: params.MaxWorkers}
	if config.MaxWorkers == 0 {
		config.MaxWorkers = defaultMaxWorkers
	}
	err = client.Queues().Add(params.Name, config)
	if errors.Is(err, &river.QueueAlreadyAddedError{}) {
		if err := client.Queues().Remove(ctx, params.Name); err != nil {
			return nil, err
		}
		err = client.Queues().Add(params.Name, config)
	}
	return empty{}, err
}

func (s *server) queueRemove(ctx context.Context, params nameParams) (any, error) {
	client, err := s.startedClient()
	if err != nil {
		return nil, err
	}
	err = client.Queues().Remove(ctx, params.Name)
	if errors.Is(err, &river.QueueNotFoundError{}) {
		return nil, failure(codeNotFound, "%v", err)
	}
	return empty{}, err
}
