package main

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

const (
	adapterVersion   = 18
	protocolRevision = 1
	riverVersion     = "0.51.1"
	latestMigration  = 8
)

var capabilities = []string{
	"barriers", "cancel", "custom_schema", "deterministic_controls", "extensions", "fault_injection",
	"get", "insert", "job_crud", "leadership", "lifecycle", "maintenance", "migrate", "notifications",
	"periodic_jobs", "poll_only", "queues", "reset", "resumable_jobs", "retry", "scheduler",
	"subscriptions", "transactions", "unique_jobs", "work",
}

// server holds what lives between requests of one process.
type server struct {
	application  string
	pool         *pgxpool.Pool
	listeners    *pgxpool.Pool
	methods      map[string]handler
	barriers     *barriers
	transactions map[string]pgx.Tx
	running      *runningClient
	probe        *probe
	now          *time.Time
}

func newServer(application string, pool, listeners *pgxpool.Pool) *server {
	s := &server{
		application: application, pool: pool, listeners: listeners,
		barriers: newBarriers(), transactions: map[string]pgx.Tx{}, probe: &probe{},
	}
	s.methods = map[string]handler{}
	for _, group := range []map[string]handler{
		s.databaseMethods(), s.jobMethods(), s.queueMethods(), s.transactionMethods(),
		s.runtimeMethods(), s.goldenMethods(), s.rawMethods(), s.faultMethods(),
	} {
		maps.Copy(s.methods, group)
	}
	s.methods["handshake"] = method(s.handshake)
	return s
}

func (s *server) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, tx := range s.transactions {
		_ = tx.Rollback(ctx)
	}
	if s.running != nil {
		_ = s.running.client.StopAndCancel(ctx)
	}
}

type noParams struct{}

type handshakeResult struct {
	AdapterVersion        int            `json:"adapter_version"`
	ApplicationName       string         `json:"application_name"`
	Backend               string         `json:"backend"`
	Capabilities          []string       `json:"capabilities"`
	Implementation        string         `json:"implementation"`
	ImplementationVersion string         `json:"implementation_version"`
	Methods               []string       `json:"methods"`
	MigrationLines        map[string]int `json:"migration_lines"`
	Profile               string         `json:"profile"`
	ProtocolRevision      int            `json:"protocol_revision"`
}

func (s *server) handshake(context.Context, noParams) (any, error) {
	return handshakeResult{
		AdapterVersion: adapterVersion, ApplicationName: s.application, Backend: "postgres",
		Capabilities: capabilities, Implementation: "go", ImplementationVersion: riverVersion,
		Methods: slices.Sorted(maps.Keys(s.methods)), MigrationLines: map[string]int{"main": latestMigration},
		Profile: "postgres-full-v1", ProtocolRevision: protocolRevision,
	}, nil
}

// client is the started client, or one that only inserts and administers.
func (s *server) client(schema string) (*river.Client[pgx.Tx], error) {
	if s.running != nil && s.running.schema == schema {
		return s.running.client, nil
	}
	return river.NewClient(riverpgxv5.New(s.pool), &river.Config{Logger: logger(), Schema: schema})
}
