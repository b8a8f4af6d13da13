package main

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

func (s *server) transactionMethods() map[string]handler {
	return map[string]handler{
		"tx_begin":        method(s.txBegin),
		"tx_commit":       method(s.txCommit),
		"tx_rollback":     method(s.txRollback),
		"tx_fail":         method(s.txFail),
		"tx_insert":       method(s.txInsert),
		"tx_insert_many":  method(s.txInsertMany),
		"tx_get":          method(s.txGet),
		"tx_cancel":       method(s.txCancel),
		"tx_retry":        method(s.txRetry),
		"tx_delete":       method(s.txDelete),
		"tx_update":       method(s.txUpdate),
		"tx_list":         method(s.txList),
		"tx_delete_many":  method(s.txDeleteMany),
		"tx_queue_get":    method(s.txQueueGet),
		"tx_queue_list":   method(s.txQueueList),
		"tx_queue_pause":  method(s.txQueuePause),
		"tx_queue_resume": method(s.txQueueResume),
		"tx_queue_update": method(s.txQueueUpdate),
	}
}

type handleParams struct {
	Handle string `json:"handle" rpc:"required,nonempty"`
}

// within gives the client and the open transaction of a handle.
func (s *server) within(handle string) (*river.Client[pgx.Tx], pgx.Tx, error) {
	tx, open := s.transactions[handle]
	if !open {
		return nil, nil, failure(codeNotFound, "no transaction %q", handle)
	}
	client, err := s.client("")
	return client, tx, err
}

func (s *server) txBegin(ctx context.Context, params handleParams) (any, error) {
	if _, open := s.transactions[params.Handle]; open {
		return nil, failure(codeRejected, "transaction %q is open already", params.Handle)
	}
	tx, err := s.pool.Begin(ctx)
	if err != nil {
		return nil, err
	}
	s.transactions[params.Handle] = tx
	return empty{}, nil
}

func (s *server) txCommit(ctx context.Context, params handleParams) (any, error) {
	_, tx, err := s.within(params.Handle)
	if err != nil {
		return nil, err
	}
	delete(s.transactions, params.Handle)
	return empty{}, tx.Commit(ctx)
}

func (s *server) txRollback(ctx context.Context, params handleParams) (any, error) {
	_, tx, err := s.within(params.Handle)
	if err != nil {
		return nil, err
	}
	delete(s.transactions, params.Handle)
	return empty{}, tx.Rollback(ctx)
}

func (s *server) txFail(ctx context.Context, params handleParams) (any, error) {
	_, tx, err := s.within(params.Handle)
	if err != nil {
		return nil, err
	}
	if _, err := tx.Exec(ctx, "SELECT 1 / 0"); err != nil {
		return nil, err
	}
	return nil, failure(codeInternal, "PostgreSQL divided by zero")
}

type txInsertParams struct {
	handleParams
	Job insertJob `json:"job" rpc:"required"`
}

func (s *server) txInsert(ctx context.Context, params txInsertParams) (any, error) {
	client, tx, err := s.within(params.Handle)
	if err != nil {
		return nil, err
	}
	result, err := client.InsertTx(ctx, tx, params.Job.args(), params.Job.opts())
	if err != nil {
		return nil, err
	}
	return normalJob(result.Job), nil
}

type txInsertManyParams struct {
	handleParams
	insertManyParams
}

func (s *server) txInsertMany(ctx context.Context, params txInsertManyParams) (any, error) {
	client, tx, err := s.within(params.Handle)
	if err != nil {
		return nil, err
	}
	results, err := client.InsertManyTx(ctx, tx, manyParams(params.Jobs))
	if err != nil {
		return nil, err
	}
	return manyResults(results), nil
}

type txIDParams struct {
	handleParams
	idParams
}

type txOperation func(context.Context, pgx.Tx, int64) (*rivertype.JobRow, error)

func (s *server) txOneJob(
	ctx context.Context, params txIDParams, operation func(*river.Client[pgx.Tx]) txOperation,
) (any, error) {
	client, tx, err := s.within(params.Handle)
	if err != nil {
		return nil, err
	}
	return normalized(operation(client)(ctx, tx, params.ID))
}

func (s *server) txGet(ctx context.Context, params txIDParams) (any, error) {
	return s.txOneJob(ctx, params, func(client *river.Client[pgx.Tx]) txOperation { return client.JobGetTx })
}

func (s *server) txCancel(ctx context.Context, params txIDParams) (any, error) {
	return s.txOneJob(ctx, params, func(client *river.Client[pgx.Tx]) txOperation { return client.JobCancelTx })
}

func (s *server) txRetry(ctx context.Context, params txIDParams) (any, error) {
	return s.txOneJob(ctx, params, func(client *river.Client[pgx.Tx]) txOperation { return client.JobRetryTx })
}

func (s *server) txDelete(ctx context.Context, params txIDParams) (any, error) {
	return s.txOneJob(ctx, params, func(client *river.Client[pgx.Tx]) txOperation { return client.JobDeleteTx })
}

type txUpdateParams struct {
	handleParams
	updateParams
}

func (s *server) txUpdate(ctx context.Context, params txUpdateParams) (any, error) {
	client, tx, err := s.within(params.Handle)
	if err != nil {
		return nil, err
	}
	return normalized(client.JobUpdateTx(ctx, tx, params.ID, params.river()))
}

type txListParams struct {
	handleParams
	listParams
}

func (s *server) txList(ctx context.Context, params txListParams) (any, error) {
	client, tx, err := s.within(params.Handle)
	if err != nil {
		return nil, err
	}
	filter, err := params.river()
	if err != nil {
		return nil, err
	}
	return normalList(client.JobListTx(ctx, tx, filter))
}

type txDeleteManyParams struct {
	handleParams
	deleteManyParams
}

func (s *server) txDeleteMany(ctx context.Context, params txDeleteManyParams) (any, error) {
	client, tx, err := s.within(params.Handle)
	if err != nil {
		return nil, err
	}
	filter, err := params.river()
	if err != nil {
		return nil, err
	}
	result, err := client.JobDeleteManyTx(ctx, tx, filter)
	if err != nil {
		return nil, err
	}
	return jobsResult{normalJobs(result.Jobs)}, nil
}

type txNameParams struct {
	handleParams
	nameParams
}

func (s *server) txQueueGet(ctx context.Context, params txNameParams) (any, error) {
	client, tx, err := s.within(params.Handle)
	if err != nil {
		return nil, err
	}
	return normalizedQueue(client.QueueGetTx(ctx, tx, params.Name))
}

type txQueueListParams struct {
	handleParams
	queueListParams
}

func (s *server) txQueueList(ctx context.Context, params txQueueListParams) (any, error) {
	client, tx, err := s.within(params.Handle)
	if err != nil {
		return nil, err
	}
	filter, err := params.river()
	if err != nil {
		return nil, err
	}
	return normalQueues(client.QueueListTx(ctx, tx, filter))
}

func (s *server) txQueuePause(ctx context.Context, params txNameParams) (any, error) {
	client, tx, err := s.within(params.Handle)
	if err != nil {
		return nil, err
	}
	return empty{}, client.QueuePauseTx(ctx, tx, params.Name, nil)
}

func (s *server) txQueueResume(ctx context.Context, params txNameParams) (any, error) {
	client, tx, err := s.within(params.Handle)
	if err != nil {
		return nil, err
	}
	return empty{}, client.QueueResumeTx(ctx, tx, params.Name, nil)
}

type txQueueUpdateParams struct {
	txNameParams
	Metadata json.RawMessage `json:"metadata" rpc:"object"`
}

func (s *server) txQueueUpdate(ctx context.Context, params txQueueUpdateParams) (any, error) {
	client, tx, err := s.within(params.Handle)
	if err != nil {
		return nil, err
	}
	return normalizedQueue(client.QueueUpdateTx(ctx, tx, params.Name, &river.QueueUpdateParams{Metadata: params.Metadata}))
}
