package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

func (s *server) faultMethods() map[string]handler {
	return map[string]handler{
		"connection_count":             method(s.connectionCount),
		"fault_disconnect_application": method(s.disconnectApplication),
		"fault_disconnect_listeners":   method(s.disconnectListeners),
		"fault_expire_leader":          method(s.expireLeader),
		"leader":                       method(s.leader),
		"listener_count":               method(s.listenerCount),
		"request_resign":               method(s.requestResign),
	}
}

type countResult struct {
	Count int `json:"count"`
}

func (s *server) count(ctx context.Context, sql string, values ...any) (any, error) {
	var count int
	err := s.pool.QueryRow(ctx, sql, values...).Scan(&count)
	return countResult{count}, err
}

func (s *server) connectionCount(ctx context.Context, _ noParams) (any, error) {
	return s.count(ctx, `
		SELECT count(*) FROM pg_stat_activity
		WHERE datname = current_database() AND application_name = $1`, s.application)
}

func (s *server) listenerCount(ctx context.Context, _ noParams) (any, error) {
	return s.count(ctx, `
		SELECT count(*) FROM pg_stat_activity
		WHERE datname = current_database() AND application_name = $1 AND `+isListener, s.application)
}

// isListener tells by the last statement: River's listeners run LISTEN, UNLISTEN and pgx's ping,
// and nothing else.
const isListener = `(query ~* '^\s*(un)?listen\s' OR query = '-- ping')`

func (s *server) disconnectListeners(ctx context.Context, _ noParams) (any, error) {
	return s.count(ctx, `
		SELECT count(*) FROM (
		  SELECT pg_terminate_backend(pid) AS done FROM pg_stat_activity
		  WHERE datname = current_database() AND application_name = $1 AND pid <> pg_backend_pid()
		    AND `+isListener+`
		) ended WHERE done`, s.application)
}

type applicationParams struct {
	ApplicationName string `json:"application_name" rpc:"required,prefix=river-conformance-"`
}

func (s *server) disconnectApplication(ctx context.Context, params applicationParams) (any, error) {
	result, err := s.count(ctx, `
		SELECT count(*) FROM (
		  SELECT pg_terminate_backend(pid) AS done FROM pg_stat_activity
		  WHERE datname = current_database() AND application_name = $1 AND pid <> pg_backend_pid()
		) ended WHERE done`, params.ApplicationName)
	if err == nil && params.ApplicationName == s.application {
		s.dropDeadConnections(ctx)
	}
	return result, err
}

// dropDeadConnections spares the next requests the errors of idle connections cut just above.
func (s *server) dropDeadConnections(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for _, connection := range s.pool.AcquireAllIdle(ctx) {
		_ = connection.Ping(ctx)
		connection.Release()
	}
}

func (s *server) expireLeader(ctx context.Context, _ noParams) (any, error) {
	_, err := s.pool.Exec(ctx, "UPDATE river_leader SET expires_at = now() - interval '1 second'")
	return empty{}, err
}

type leaderResult struct {
	ElectedAt *string `json:"elected_at"`
	LeaderID  *string `json:"leader_id"`
}

func (s *server) leader(ctx context.Context, _ noParams) (any, error) {
	var (
		electedAt time.Time
		id        string
	)
	err := s.pool.QueryRow(ctx,
		"SELECT elected_at, leader_id FROM river_leader WHERE expires_at >= now()").Scan(&electedAt, &id)
	if err == pgx.ErrNoRows {
		return leaderResult{}, nil
	}
	if err != nil {
		return nil, err
	}
	return leaderResult{optionalTime(&electedAt), &id}, nil
}

type resignParams struct {
	Handle string `json:"handle" rpc:"nonempty"`
}

func (s *server) requestResign(ctx context.Context, params resignParams) (any, error) {
	if params.Handle != "" {
		client, tx, err := s.within(params.Handle)
		if err != nil {
			return nil, err
		}
		return empty{}, client.Notify().RequestResignTx(ctx, tx)
	}
	client, err := s.client("")
	if err != nil {
		return nil, err
	}
	return empty{}, client.Notify().RequestResign(ctx)
}
