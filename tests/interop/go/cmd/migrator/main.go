// Command migrator runs Go River's migrator as it is told: one JSON request per line on standard
// input, one JSON answer per line on standard output.
//
//	migrator DATABASE_URL
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

type request struct {
	Method        string `json:"method"`
	Line          string `json:"line"`
	TargetVersion int    `json:"target_version"`
	MaxSteps      int    `json:"max_steps"`
	DryRun        bool   `json:"dry_run"`
	Version       int    `json:"version"`
}

type answer struct {
	Versions []int    `json:"versions"`
	Names    []string `json:"names"`
	Messages []string `json:"messages"`
	Error    string   `json:"error"`
}

func call(ctx context.Context, pool *pgxpool.Pool, req *request) (*answer, error) {
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{
		Line:   req.Line,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		return nil, err
	}
	reply := &answer{Versions: []int{}, Names: []string{}, Messages: []string{}}
	switch req.Method {
	case "up", "down":
		result, err := migrate(ctx, migrator, req)
		if err != nil {
			return nil, err
		}
		for _, version := range result.Versions {
			reply.Versions = append(reply.Versions, version.Version)
			reply.Names = append(reply.Names, version.Name)
		}
	case "existing":
		existing, err := migrator.ExistingVersions(ctx)
		if err != nil {
			return nil, err
		}
		for _, version := range existing {
			reply.Versions = append(reply.Versions, version.Version)
			reply.Names = append(reply.Names, version.Name)
		}
	case "validate":
		result, err := migrator.Validate(ctx, &rivermigrate.ValidateOpts{TargetVersion: req.TargetVersion})
		if err != nil {
			return nil, err
		}
		reply.Messages = append(reply.Messages, result.Messages...)
	case "get":
		migration, err := migrator.GetVersion(req.Version)
		if err != nil {
			return nil, err
		}
		reply.Versions = append(reply.Versions, migration.Version)
		reply.Names = append(reply.Names, migration.Name)
	default:
		return nil, fmt.Errorf("unknown method %s", req.Method)
	}
	return reply, nil
}

func migrate(
	ctx context.Context, migrator *rivermigrate.Migrator[pgx.Tx], req *request,
) (*rivermigrate.MigrateResult, error) {
	direction := rivermigrate.DirectionUp
	if req.Method == "down" {
		direction = rivermigrate.DirectionDown
	}
	return migrator.Migrate(ctx, direction, &rivermigrate.MigrateOpts{
		DryRun: req.DryRun, MaxSteps: req.MaxSteps, TargetVersion: req.TargetVersion,
	})
}

func run() error {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, os.Args[1])
	if err != nil {
		return err
	}
	defer pool.Close()
	lines := bufio.NewScanner(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var req request
		if err := json.Unmarshal(lines.Bytes(), &req); err != nil {
			return err
		}
		reply, err := call(ctx, pool, &req)
		if err != nil {
			reply = &answer{Error: err.Error()}
		}
		if err := out.Encode(reply); err != nil {
			return err
		}
	}
	return lines.Err()
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
