package main

import (
	"bytes"
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Fields of parameter types carry rules in the tag `rpc`, separated by commas: required, nullable,
// object (raw JSON that must be an object), nonempty, min=N, enum=a|b, prefix=TEXT; in slices they
// hold for each element. The named enums state and behavior stand for their lists.

var (
	rawType     = reflect.TypeFor[json.RawMessage]()
	instantType = reflect.TypeFor[instant]()
	integer     = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)

	namedEnums = map[string][]string{
		"state": {
			"available", "cancelled", "completed", "discarded", "pending", "retryable", "running", "scheduled",
		},
		"behavior": behaviors,
	}
)

// instant is an RFC 3339 parameter; it keeps the offset that was sent.
type instant struct{ time.Time }

type rules map[string]string

func rulesOf(field reflect.StructField) rules {
	found := rules{}
	for rule := range strings.SplitSeq(field.Tag.Get("rpc"), ",") {
		name, value, _ := strings.Cut(rule, "=")
		if name != "" {
			found[name] = value
		}
	}
	return found
}

func (r rules) has(name string) bool { _, found := r[name]; return found }

func decodeParams[P any](raw json.RawMessage) (P, error) {
	var params P
	if len(raw) == 0 {
		raw = json.RawMessage("{}")
	}
	if err := checkValue(reflect.TypeFor[P](), raw, rules{}, "params"); err != nil {
		return params, err
	}
	if err := json.Unmarshal(raw, &params); err != nil {
		return params, failure(codeInvalidParams, "params: %v", err)
	}
	return params, nil
}

func checkValue(kind reflect.Type, raw json.RawMessage, rules rules, path string) error {
	invalid := func(what string) error { return failure(codeInvalidParams, "%s: %s", path, what) }
	raw = bytes.TrimSpace(raw)
	if kind.Kind() == reflect.Pointer {
		kind = kind.Elem()
	}
	if kind == rawType {
		if rules.has("object") && raw[0] != '{' {
			return invalid("an object is expected")
		}
		return nil
	}
	if string(raw) == "null" {
		if rules.has("nullable") {
			return nil
		}
		return invalid("null is not allowed")
	}
	if kind == instantType {
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return invalid("an RFC 3339 time is expected")
		}
		if _, err := time.Parse(time.RFC3339Nano, text); err != nil {
			return invalid("an RFC 3339 time is expected")
		}
		return nil
	}
	switch kind.Kind() {
	case reflect.Struct:
		return checkObject(kind, raw, path)
	case reflect.Slice:
		if raw[0] != '[' {
			return invalid("an array is expected")
		}
		var items []json.RawMessage
		if err := json.Unmarshal(raw, &items); err != nil {
			return invalid("an array is expected")
		}
		for at, item := range items {
			if err := checkValue(kind.Elem(), item, rules, path+"["+strconv.Itoa(at)+"]"); err != nil {
				return err
			}
		}
		return nil
	case reflect.String:
		var text string
		if err := json.Unmarshal(raw, &text); err != nil || raw[0] != '"' {
			return invalid("a string is expected")
		}
		return checkText(text, rules, invalid)
	case reflect.Bool:
		if raw[0] != 't' && raw[0] != 'f' {
			return invalid("a boolean is expected")
		}
		return nil
	case reflect.Int, reflect.Int16, reflect.Int64, reflect.Uint64:
		if !integer.Match(raw) {
			return invalid("an integer is expected")
		}
		if least, err := strconv.ParseInt(rules["min"], 10, 64); err == nil && kind.Kind() != reflect.Uint64 {
			if value, err := strconv.ParseInt(string(raw), 10, 64); err != nil || value < least {
				return invalid("at least " + rules["min"] + " is expected")
			}
		}
		return nil
	}
	return failure(codeInternal, "%s: no rule for %s", path, kind)
}

func checkText(text string, rules rules, invalid func(string) error) error {
	if rules.has("nonempty") && text == "" {
		return invalid("an empty string is not allowed")
	}
	if prefix := rules["prefix"]; !strings.HasPrefix(text, prefix) {
		return invalid("must begin with " + prefix)
	}
	if !rules.has("enum") {
		return nil
	}
	allowed, named := namedEnums[rules["enum"]]
	if !named {
		allowed = strings.Split(rules["enum"], "|")
	}
	if !slices.Contains(allowed, text) {
		return invalid("one of " + strings.Join(allowed, ", ") + " is expected")
	}
	return nil
}

func checkObject(kind reflect.Type, raw json.RawMessage, path string) error {
	if raw[0] != '{' {
		return failure(codeInvalidParams, "%s: an object is expected", path)
	}
	fields := map[string]reflect.StructField{}
	for _, field := range reflect.VisibleFields(kind) {
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" {
			fields[name] = field
		}
	}
	seen := map[string]bool{}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if _, err := decoder.Token(); err != nil {
		return failure(codeInvalidParams, "%s: %v", path, err)
	}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return failure(codeInvalidParams, "%s: %v", path, err)
		}
		name, _ := token.(string)
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return failure(codeInvalidParams, "%s: %v", path, err)
		}
		field, known := fields[name]
		if !known || seen[name] {
			return failure(codeInvalidParams, "%s: unknown or repeated parameter %q", path, name)
		}
		seen[name] = true
		if err := checkValue(field.Type, value, rulesOf(field), path+"."+name); err != nil {
			return err
		}
	}
	for name, field := range fields {
		if rulesOf(field).has("required") && !seen[name] {
			return failure(codeInvalidParams, "%s: parameter %q is required", path, name)
		}
	}
	return nil
}
