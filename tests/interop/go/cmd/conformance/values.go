package main

import (
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

	"github.com/riverqueue/river/rivertype"
)

// jobValue is a job row in the contract's normal form.
type jobValue struct {
	Args         json.RawMessage    `json:"args"`
	Attempt      int                `json:"attempt"`
	AttemptedAt  *string            `json:"attempted_at"`
	AttemptedBy  []string           `json:"attempted_by"`
	CreatedAt    string             `json:"created_at"`
	Errors       []errorValue       `json:"errors"`
	FinalizedAt  *string            `json:"finalized_at"`
	ID           int64              `json:"id"`
	Kind         string             `json:"kind"`
	MaxAttempts  int                `json:"max_attempts"`
	Metadata     json.RawMessage    `json:"metadata"`
	Priority     int                `json:"priority"`
	Queue        string             `json:"queue"`
	ScheduledAt  string             `json:"scheduled_at"`
	State        rivertype.JobState `json:"state"`
	Tags         []string           `json:"tags"`
	UniqueKey    *string            `json:"unique_key"`
	UniqueStates []string           `json:"unique_states"`
}

type errorValue struct {
	At      string `json:"at"`
	Attempt int    `json:"attempt"`
	Error   string `json:"error"`
	Trace   string `json:"trace"`
}

type queueValue struct {
	CreatedAt string          `json:"created_at"`
	Metadata  json.RawMessage `json:"metadata"`
	Name      string          `json:"name"`
	PausedAt  *string         `json:"paused_at"`
	UpdatedAt string          `json:"updated_at"`
}

func timeText(at time.Time) string { return at.UTC().Format(time.RFC3339Nano) }

func optionalTime(at *time.Time) *string {
	if at == nil {
		return nil
	}
	text := timeText(*at)
	return &text
}

func normalJob(job *rivertype.JobRow) jobValue {
	value := jobValue{
		Args: job.EncodedArgs, Attempt: job.Attempt, AttemptedAt: optionalTime(job.AttemptedAt),
		AttemptedBy: append([]string{}, job.AttemptedBy...), CreatedAt: timeText(job.CreatedAt),
		Errors: []errorValue{}, FinalizedAt: optionalTime(job.FinalizedAt), ID: job.ID, Kind: job.Kind,
		MaxAttempts: job.MaxAttempts, Metadata: normalMetadata(job.Metadata), Priority: job.Priority,
		Queue: job.Queue, ScheduledAt: timeText(job.ScheduledAt), State: job.State,
		Tags: append([]string{}, job.Tags...),
	}
	for _, failed := range job.Errors {
		value.Errors = append(value.Errors, errorValue{
			At: timeText(failed.At), Attempt: failed.Attempt, Error: failed.Error, Trace: failed.Trace,
		})
	}
	if len(job.UniqueKey) > 0 {
		key := hex.EncodeToString(job.UniqueKey)
		value.UniqueKey = &key
	}
	for _, state := range job.UniqueStates {
		value.UniqueStates = append(value.UniqueStates, string(state))
	}
	slices.Sort(value.UniqueStates)
	return value
}

// normalMetadata is null for metadata that is no object, or whose numbers exceed a double's range.
func normalMetadata(raw []byte) json.RawMessage {
	var object map[string]any
	if json.Unmarshal(raw, &object) != nil || object == nil {
		return json.RawMessage("null")
	}
	return raw
}

func normalQueue(queue *rivertype.Queue) queueValue {
	return queueValue{
		CreatedAt: timeText(queue.CreatedAt), Metadata: queue.Metadata, Name: queue.Name,
		PausedAt: optionalTime(queue.PausedAt), UpdatedAt: timeText(queue.UpdatedAt),
	}
}
