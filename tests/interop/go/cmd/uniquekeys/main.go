// Uniquekeys computes unique keys with River's insert path: one JSON object per line in, one per
// line out. With the argument types it describes the types whose fields are selected by tags.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"riverjobs/interop/uniquekey"
)

// request is one insert. Of its args either Value is given, for Go to encode, or Text, which is
// taken as it is; a type selects fields of Text.
type request struct {
	Type        *int                 `json:"type"`
	Kind        string               `json:"kind"`
	Value       json.RawMessage      `json:"value"`
	Text        string               `json:"text"`
	ByArgs      bool                 `json:"by_args"`
	ByPeriodNS  int64                `json:"by_period_ns"`
	ByQueue     bool                 `json:"by_queue"`
	ByState     []rivertype.JobState `json:"by_state"`
	ExcludeKind bool                 `json:"exclude_kind"`
	Queue       string               `json:"queue"`
	Now         time.Time            `json:"now"`
	ScheduledAt time.Time            `json:"scheduled_at"`
}

type answer struct {
	Encoded string `json:"encoded"`
	Error   string `json:"error"`
	Key     string `json:"key"`
	Kind    string `json:"kind"`
	Mask    int    `json:"mask"`
}

// valueArgs have Go encode any JSON value.
type valueArgs struct {
	kind  string
	value any
}

func (a valueArgs) Kind() string { return a.kind }

func (a valueArgs) MarshalJSON() ([]byte, error) { return json.Marshal(a.value) }

type textArgs struct {
	uniquekey.Encoded

	kind string
}

func (a textArgs) Kind() string { return a.kind }

func main() {
	var err error
	if len(os.Args) == 2 && os.Args[1] == "types" {
		err = describeTypes()
	} else {
		err = answerLines(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func describeTypes() error {
	type described struct {
		Name  string                       `json:"name"`
		Types map[string][]uniquekey.Field `json:"types"`
	}
	all := []described{}
	for number := range uniquekey.SelectedCount() {
		name, types := uniquekey.Describe(number)
		all = append(all, described{name, types})
	}
	return json.NewEncoder(os.Stdout).Encode(all)
}

func answerLines(ctx context.Context) error {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<20), 64<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for lines.Scan() {
		var req request
		if err := json.Unmarshal(lines.Bytes(), &req); err != nil {
			return err
		}
		if err := json.NewEncoder(out).Encode(compute(ctx, req)); err != nil {
			return err
		}
	}
	return lines.Err()
}

func compute(ctx context.Context, req request) answer {
	args, err := argsOf(req)
	if err != nil {
		return answer{Error: err.Error()}
	}
	params, err := uniquekey.Of(ctx, args, uniquekey.Options{
		UniqueOpts: river.UniqueOpts{
			ByArgs: req.ByArgs, ByPeriod: time.Duration(req.ByPeriodNS), ByQueue: req.ByQueue,
			ByState: req.ByState, ExcludeKind: req.ExcludeKind,
		},
		Now: req.Now, Queue: req.Queue, ScheduledAt: req.ScheduledAt,
	})
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{
		Encoded: string(params.EncodedArgs), Key: hex.EncodeToString(params.UniqueKey),
		Kind: params.Kind, Mask: int(params.UniqueStates),
	}
}

func argsOf(req request) (river.JobArgs, error) {
	if req.Type != nil {
		return uniquekey.Selected(*req.Type, uniquekey.Encoded{Text: json.RawMessage(req.Text)}), nil
	}
	if req.Value == nil {
		return textArgs{uniquekey.Encoded{Text: json.RawMessage(req.Text)}, req.Kind}, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(req.Value))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	value, err := withFloats(value)
	return valueArgs{req.Kind, value}, err
}

// withFloats turns numbers that are written with a fraction or an exponent into floats, which Go
// then formats; integers keep their digits.
func withFloats(value any) (any, error) {
	switch value := value.(type) {
	case json.Number:
		if strings.ContainsAny(string(value), ".eE") {
			return value.Float64()
		}
	case []any:
		for at, item := range value {
			changed, err := withFloats(item)
			if err != nil {
				return nil, err
			}
			value[at] = changed
		}
	case map[string]any:
		for name, item := range value {
			changed, err := withFloats(item)
			if err != nil {
				return nil, err
			}
			value[name] = changed
		}
	}
	return value, nil
}
