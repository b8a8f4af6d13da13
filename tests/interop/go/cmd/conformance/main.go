// Conformance is Go River v0.51.1 behind River's conformance contract (adapter version 18): one
// JSON-RPC 2.0 request per line on standard input, one answer per line on standard output.
//
// Environment: RIVER_CONFORMANCE_DATABASE_URL (required), RIVER_CONFORMANCE_APPLICATION_NAME
// (default river-conformance-go), RIVER_CONFORMANCE_DATABASE_KIND (only postgres).
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	applicationPrefix = "river-conformance-"
	workConnections   = 16
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	url := os.Getenv("RIVER_CONFORMANCE_DATABASE_URL")
	if url == "" {
		return errors.New("RIVER_CONFORMANCE_DATABASE_URL must name a PostgreSQL database")
	}
	if kind := os.Getenv("RIVER_CONFORMANCE_DATABASE_KIND"); kind != "" && kind != "postgres" {
		return fmt.Errorf("RIVER_CONFORMANCE_DATABASE_KIND %q is not offered, only postgres", kind)
	}
	application := os.Getenv("RIVER_CONFORMANCE_APPLICATION_NAME")
	if application == "" {
		application = applicationPrefix + "go"
	}
	if !strings.HasPrefix(application, applicationPrefix) {
		return fmt.Errorf("RIVER_CONFORMANCE_APPLICATION_NAME must begin with %s", applicationPrefix)
	}
	pool, err := openPool(ctx, url, application, workConnections)
	if err != nil {
		return err
	}
	defer pool.Close()
	listeners, err := openPool(ctx, url, application, listenConnections)
	if err != nil {
		return err
	}
	defer listeners.Close()

	server := newServer(application, pool, listeners)
	defer server.close()
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<20), 256<<20)
	for lines.Scan() {
		if len(lines.Bytes()) == 0 {
			continue
		}
		if err := writeAnswer(os.Stdout, server.answer(ctx, lines.Bytes())); err != nil {
			return err
		}
	}
	return lines.Err()
}

func openPool(ctx context.Context, url, application string, size int32) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.ConnConfig.RuntimeParams["application_name"] = application
	config.MaxConns = size
	return pgxpool.NewWithConfig(ctx, config)
}

func logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}
