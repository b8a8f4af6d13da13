// Package uniquekey computes unique keys with River's own insert path: a client inserts, and a
// middleware takes the finished parameters in place of the statement.
package uniquekey

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"
)

// Options of one insert; Now stands for the client's clock.
type Options struct {
	UniqueOpts  river.UniqueOpts
	Now         time.Time
	Queue       string
	ScheduledAt time.Time
}

// Of gives the parameters that River would insert, with UniqueKey and UniqueStates; no database is
// used.
func Of(ctx context.Context, args river.JobArgs, options Options) (*rivertype.JobInsertParams, error) {
	taken := &taker{}
	client, err := river.NewClient(riverpgxv5.New(nil), &river.Config{
		Middleware: []rivertype.Middleware{taken},
		Test:       river.TestConfig{Time: clock(options.Now)},
	})
	if err != nil {
		return nil, err
	}
	var noTransaction pgx.Tx
	_, err = client.InsertTx(ctx, noTransaction, args, &river.InsertOpts{
		Queue: options.Queue, ScheduledAt: options.ScheduledAt, UniqueOpts: options.UniqueOpts,
	})
	return taken.params, err
}

type clock time.Time

func (c clock) Now() time.Time { return time.Time(c) }

func (c clock) NowOrNil() *time.Time {
	now := time.Time(c)
	return &now
}

type taker struct {
	river.MiddlewareDefaults

	params *rivertype.JobInsertParams
}

func (t *taker) InsertMany(
	_ context.Context, many []*rivertype.JobInsertParams,
	_ func(context.Context) ([]*rivertype.JobInsertResult, error),
) ([]*rivertype.JobInsertResult, error) {
	t.params = many[0]
	return []*rivertype.JobInsertResult{{Job: &rivertype.JobRow{}}}, nil
}
