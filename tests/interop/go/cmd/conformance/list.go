package main

import (
	"context"
	"encoding/json"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// maxLimit is the most rows that River returns at once; beyond it its builder panics.
const maxLimit = 10_000

type listParams struct {
	After      string               `json:"after" rpc:"nonempty"`
	Direction  string               `json:"direction" rpc:"enum=asc|desc"`
	IDs        []int64              `json:"ids" rpc:"min=1"`
	Kinds      []string             `json:"kinds"`
	Limit      int                  `json:"limit" rpc:"min=1"`
	Metadata   json.RawMessage      `json:"metadata" rpc:"object"`
	OrderBy    string               `json:"order_by" rpc:"enum=finalized_at|id|scheduled_at|time"`
	Priorities []int16              `json:"priorities"`
	Queues     []string             `json:"queues"`
	States     []rivertype.JobState `json:"states" rpc:"enum=state"`
	TagsAll    []string             `json:"tags_all"`
	TagsAny    []string             `json:"tags_any"`
}

func (p listParams) river() (*river.JobListParams, error) {
	params := river.NewJobListParams()
	if p.OrderBy != "" || p.Direction != "" {
		field, direction := river.JobListOrderByID, river.SortOrderAsc
		if p.OrderBy != "" {
			field = river.JobListOrderByField(p.OrderBy)
		}
		if p.Direction == "desc" {
			direction = river.SortOrderDesc
		}
		params = params.OrderBy(field, direction)
	}
	if p.After != "" {
		var cursor river.JobListCursor
		if err := cursor.UnmarshalText([]byte(p.After)); err != nil {
			return nil, err
		}
		params = params.After(&cursor)
	}
	if p.Limit > maxLimit {
		return nil, failure(codeRejected, "limit must be at most %d", maxLimit)
	}
	if p.Limit > 0 {
		params = params.First(p.Limit)
	}
	if p.IDs != nil {
		params = params.IDs(p.IDs...)
	}
	if p.Kinds != nil {
		params = params.Kinds(p.Kinds...)
	}
	if p.Metadata != nil {
		params = params.Metadata(string(p.Metadata))
	}
	if p.Priorities != nil {
		params = params.Priorities(p.Priorities...)
	}
	if p.Queues != nil {
		params = params.Queues(p.Queues...)
	}
	if p.States != nil {
		params = params.States(p.States...)
	}
	if p.TagsAll != nil {
		params = params.TagsAll(p.TagsAll...)
	}
	if p.TagsAny != nil {
		params = params.TagsAny(p.TagsAny...)
	}
	return params, nil
}

type listResult struct {
	Cursor *string    `json:"cursor"`
	Jobs   []jobValue `json:"jobs"`
}

func normalList(result *river.JobListResult, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	value := listResult{Jobs: normalJobs(result.Jobs)}
	if result.LastCursor != nil {
		text, err := result.LastCursor.MarshalText()
		if err != nil {
			return nil, err
		}
		cursor := string(text)
		value.Cursor = &cursor
	}
	return value, nil
}

func (s *server) list(ctx context.Context, params listParams) (any, error) {
	client, err := s.client("")
	if err != nil {
		return nil, err
	}
	filter, err := params.river()
	if err != nil {
		return nil, err
	}
	return normalList(client.JobList(ctx, filter))
}
