package main

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

func (s *server) databaseMethods() map[string]handler {
	return map[string]handler{"migrate": method(s.migrate), "reset": method(s.reset)}
}

type migrateParams struct {
	Direction     string `json:"direction" rpc:"enum=up|down"`
	DryRun        bool   `json:"dry_run"`
	MaxSteps      int    `json:"max_steps" rpc:"min=1"`
	Schema        string `json:"schema"`
	TargetVersion int    `json:"target_version"`
}

type migrateResult struct {
	Applied  []int `json:"applied"`
	Existing []int `json:"existing"`
	Valid    bool  `json:"valid"`
}

func (s *server) migrate(ctx context.Context, params migrateParams) (any, error) {
	// A client refuses schema names that River cannot use; the migrator alone does not.
	if _, err := s.client(params.Schema); err != nil {
		return nil, err
	}
	direction := rivermigrate.DirectionUp
	if params.Direction == "down" {
		direction = rivermigrate.DirectionDown
	}
	if params.Schema != "" && direction == rivermigrate.DirectionUp && !params.DryRun {
		if _, err := s.pool.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+quoted(params.Schema)); err != nil {
			return nil, err
		}
	}
	migrator, err := rivermigrate.New(riverpgxv5.New(s.pool), &rivermigrate.Config{
		Logger: logger(), Schema: params.Schema,
	})
	if err != nil {
		return nil, err
	}
	moved, err := migrator.Migrate(ctx, direction, &rivermigrate.MigrateOpts{
		DryRun: params.DryRun, MaxSteps: params.MaxSteps, TargetVersion: params.TargetVersion,
	})
	if err != nil {
		return nil, err
	}
	result := migrateResult{Applied: []int{}, Existing: []int{}}
	for _, version := range moved.Versions {
		result.Applied = append(result.Applied, version.Version)
	}
	existing, err := migrator.ExistingVersions(ctx)
	if err != nil {
		return nil, err
	}
	for _, version := range existing {
		result.Existing = append(result.Existing, version.Version)
	}
	validated, err := migrator.Validate(ctx, nil)
	if err != nil {
		return nil, err
	}
	result.Valid = validated.OK
	return result, nil
}

type schemaParams struct {
	Schema string `json:"schema"`
}

func (s *server) reset(ctx context.Context, params schemaParams) (any, error) {
	if _, err := s.client(params.Schema); err != nil {
		return nil, err
	}
	rows, err := s.pool.Query(ctx, `
		SELECT c.relname
		FROM pg_catalog.pg_class c
		WHERE c.relnamespace = coalesce(to_regnamespace($1), current_schema()::regnamespace)
		  AND c.relkind = 'r'
		  AND c.relname IN ('river_job', 'river_leader', 'river_queue', 'river_notification')`,
		regnamespace(params.Schema))
	if err != nil {
		return nil, err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	tables := []string{}
	for _, name := range names {
		tables = append(tables, table(params.Schema, name))
	}
	s.barriers.clear()
	if len(tables) > 0 {
		if _, err := s.pool.Exec(ctx, "TRUNCATE "+strings.Join(tables, ", ")+" RESTART IDENTITY"); err != nil {
			return nil, err
		}
	}
	return empty{}, nil
}

func quoted(name string) string { return pgx.Identifier{name}.Sanitize() }

func regnamespace(schema string) *string {
	if schema == "" {
		return nil
	}
	name := quoted(schema)
	return &name
}

// table is the quoted name of one of River's tables; bare without a schema.
func table(schema, name string) string {
	if schema == "" {
		return name
	}
	return quoted(schema) + "." + name
}
