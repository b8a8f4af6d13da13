package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/riverqueue/river/rivertype"
)

// Codes that the contract names.
const (
	codeParseError     = -32700
	codeInvalidRequest = -32600
	codeMethodNotFound = -32601
	codeInvalidParams  = -32602
	codeInternal       = -32000
	codeNotFound       = -32001
	codeRejected       = -32002
	codeDatabaseError  = -32003
	codeUnsupported    = -32004
)

type rpcError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (e *rpcError) Error() string { return e.Message }

func failure(code int, format string, values ...any) error {
	return &rpcError{Code: code, Message: fmt.Sprintf(format, values...)}
}

type request struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Method  *string         `json:"method"`
	Params  json.RawMessage `json:"params"`
}

type answer struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Result  any             `json:"result,omitempty"`
	Error   *rpcError       `json:"error,omitempty"`
}

// empty is the result of methods that have nothing to say.
type empty struct{}

type handler func(ctx context.Context, params json.RawMessage) (any, error)

// method makes a handler of a function with typed parameters, refusing what does not fit the type.
func method[P any](call func(context.Context, P) (any, error)) handler {
	return func(ctx context.Context, raw json.RawMessage) (any, error) {
		params, err := decodeParams[P](raw)
		if err != nil {
			return nil, err
		}
		return call(ctx, params)
	}
}

func (s *server) answer(ctx context.Context, line []byte) answer {
	reply := answer{Version: "2.0", ID: json.RawMessage("null")}
	if !json.Valid(line) {
		reply.Error = &rpcError{codeParseError, "the line is not JSON"}
		return reply
	}
	var req request
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&req); err != nil || req.Version != "2.0" || req.Method == nil || len(req.ID) == 0 {
		reply.Error = &rpcError{codeInvalidRequest, "not a JSON-RPC 2.0 request with an id"}
		return reply
	}
	reply.ID = req.ID
	call, known := s.methods[*req.Method]
	if !known {
		reply.Error = &rpcError{codeMethodNotFound, fmt.Sprintf("no method %q", *req.Method)}
		return reply
	}
	result, err := guarded(ctx, call, req.Params)
	if err != nil {
		reply.Error = classify(err)
		return reply
	}
	reply.Result = result
	return reply
}

func guarded(ctx context.Context, call handler, params json.RawMessage) (result any, err error) {
	defer func() {
		if value := recover(); value != nil {
			result, err = nil, failure(codeInternal, "panic: %v", value)
		}
	}()
	return call(ctx, params)
}

func classify(err error) *rpcError {
	var (
		named    *rpcError
		server   *pgconn.PgError
		connect  *pgconn.ConnectError
		netError net.Error
	)
	switch {
	case errors.As(err, &named):
		return named
	case errors.Is(err, rivertype.ErrNotFound):
		return &rpcError{codeNotFound, err.Error()}
	case errors.As(err, &server), errors.As(err, &connect), errors.As(err, &netError),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, pgx.ErrTxClosed), errors.Is(err, pgx.ErrTxCommitRollback):
		return &rpcError{codeDatabaseError, err.Error()}
	}
	return &rpcError{codeRejected, err.Error()}
}

func writeAnswer(out io.Writer, reply answer) error {
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(reply); err != nil {
		line.Reset()
		reply.Result, reply.Error = nil, &rpcError{codeInternal, err.Error()}
		if err := encoder.Encode(reply); err != nil {
			return err
		}
	}
	_, err := out.Write(line.Bytes())
	return err
}
