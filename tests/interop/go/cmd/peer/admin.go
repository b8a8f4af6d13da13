package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/rivertype"
)

// adminParams are the members of all methods here; filters that are absent are not applied.
type adminParams struct {
	ID         int64                 `json:"id"`
	Name       string                `json:"name"`
	Output     json.RawMessage       `json:"output"`
	IDs        *[]int64              `json:"ids"`
	Kinds      *[]string             `json:"kinds"`
	Priorities *[]int16              `json:"priorities"`
	Queues     *[]string             `json:"queues"`
	States     *[]rivertype.JobState `json:"states"`
	TagsAll    *[]string             `json:"tags_all"`
	TagsAny    *[]string             `json:"tags_any"`
	Metadata   *string               `json:"metadata"`
	Where      []struct {
		SQL  string         `json:"sql"`
		Args map[string]any `json:"args"`
	} `json:"where"`
	OrderBy    string   `json:"order_by"`
	Descending bool     `json:"descending"`
	Limit      int      `json:"limit"`
	After      string   `json:"after"`
	Match      string   `json:"match"`
	Exclude    []string `json:"exclude"`
	UnsafeAll  bool     `json:"unsafe_all"`
}

func (p *peer) admin(ctx context.Context, req request) (any, error) {
	var params adminParams
	if err := json.Unmarshal(req.Params, &params); err != nil {
		return nil, err
	}
	exec := p.client.Driver().GetExecutor()
	switch req.Method {
	case "job_list":
		return p.list(ctx, params)
	case "job_delete_many":
		return p.deleteMany(ctx, params)
	case "job_update":
		update := &river.JobUpdateParams{}
		if params.Output != nil {
			update.Output = params.Output
		}
		job, err := p.client.JobUpdate(ctx, params.ID, update)
		if err != nil {
			return nil, err
		}
		return jobJSON(job), nil
	case "queue_update":
		queue, err := p.client.QueueUpdate(ctx, params.Name,
			&river.QueueUpdateParams{Metadata: []byte(*params.Metadata)})
		if err != nil {
			return nil, err
		}
		return map[string]any{"metadata": string(queue.Metadata)}, nil
	case "job_kind_list":
		return exec.JobKindList(ctx, &riverdriver.JobKindListParams{
			After: params.After, Exclude: params.Exclude, Match: params.Match, Max: params.Limit,
		})
	case "queue_name_list":
		return exec.QueueNameList(ctx, &riverdriver.QueueNameListParams{
			After: params.After, Exclude: params.Exclude, Match: params.Match, Max: params.Limit,
		})
	case "job_count_by_state":
		return exec.JobCountByAllStates(ctx, &riverdriver.JobCountByAllStatesParams{})
	case "job_count_by_queue_and_state":
		return exec.JobCountByQueueAndState(ctx,
			&riverdriver.JobCountByQueueAndStateParams{QueueNames: *params.Queues})
	}
	return nil, fmt.Errorf("unknown method %s", req.Method)
}

func (p *peer) list(ctx context.Context, filter adminParams) (any, error) {
	params := river.NewJobListParams()
	if filter.IDs != nil {
		params = params.IDs(*filter.IDs...)
	}
	if filter.Kinds != nil {
		params = params.Kinds(*filter.Kinds...)
	}
	if filter.Priorities != nil {
		params = params.Priorities(*filter.Priorities...)
	}
	if filter.Queues != nil {
		params = params.Queues(*filter.Queues...)
	}
	if filter.States != nil {
		params = params.States(*filter.States...)
	}
	if filter.TagsAll != nil {
		params = params.TagsAll(*filter.TagsAll...)
	}
	if filter.TagsAny != nil {
		params = params.TagsAny(*filter.TagsAny...)
	}
	if filter.Metadata != nil {
		params = params.Metadata(*filter.Metadata)
	}
	for _, where := range filter.Where {
		params = params.Where(where.SQL, where.Args)
	}
	if filter.OrderBy != "" {
		order := river.SortOrderAsc
		if filter.Descending {
			order = river.SortOrderDesc
		}
		params = params.OrderBy(river.JobListOrderByField(filter.OrderBy), order)
	}
	if filter.Limit != 0 {
		params = params.First(filter.Limit)
	}
	if filter.After != "" {
		cursor := &river.JobListCursor{}
		if err := cursor.UnmarshalText([]byte(filter.After)); err != nil {
			return nil, err
		}
		params = params.After(cursor)
	}
	result, err := p.client.JobList(ctx, params)
	if err != nil {
		return nil, err
	}
	cursor := ""
	if result.LastCursor != nil {
		text, err := result.LastCursor.MarshalText()
		if err != nil {
			return nil, err
		}
		cursor = string(text)
	}
	return map[string]any{"ids": idsOf(result.Jobs), "cursor": cursor}, nil
}

func (p *peer) deleteMany(ctx context.Context, filter adminParams) (any, error) {
	params := river.NewJobDeleteManyParams()
	if filter.IDs != nil {
		params = params.IDs(*filter.IDs...)
	}
	if filter.Kinds != nil {
		params = params.Kinds(*filter.Kinds...)
	}
	if filter.Priorities != nil {
		params = params.Priorities(*filter.Priorities...)
	}
	if filter.Queues != nil {
		params = params.Queues(*filter.Queues...)
	}
	if filter.States != nil {
		params = params.States(*filter.States...)
	}
	for _, where := range filter.Where {
		params = params.Where(where.SQL, where.Args)
	}
	if filter.UnsafeAll {
		params = params.UnsafeAll()
	}
	if filter.Limit != 0 {
		params = params.First(filter.Limit)
	}
	result, err := p.client.JobDeleteMany(ctx, params)
	if err != nil {
		return nil, err
	}
	return map[string]any{"ids": idsOf(result.Jobs)}, nil
}

func idsOf(jobs []*rivertype.JobRow) []int64 {
	ids := []int64{}
	for _, job := range jobs {
		ids = append(ids, job.ID)
	}
	return ids
}
