package uniquekey

//go:generate go run ../cmd/selectedtypes

import (
	"reflect"
	"strings"

	"github.com/riverqueue/river"
)

// SelectedCount is the number of generated types.
func SelectedCount() int { return len(selectedTypes) }

// Selected are args of one of the generated types with the given text.
func Selected(number int, encoded Encoded) river.JobArgs { return selectedTypes[number](encoded) }

// Field describes one field of a struct type.
type Field struct {
	// JSON name; of an embedded struct there is none.
	JSON     string `json:"json"`
	Embedded bool   `json:"embedded"`
	Unique   bool   `json:"unique"`
	// Type is the name of a struct type, empty for all others.
	Type string `json:"type"`
}

// Describe gives the fields of a generated type and of all types below it, by name of the type, and
// the name of the type itself.
func Describe(number int) (string, map[string][]Field) {
	found := map[string][]Field{}
	top := reflect.TypeOf(Selected(number, Encoded{}))
	describe(top, found)
	return top.Name(), found
}

func describe(kind reflect.Type, found map[string][]Field) {
	if _, done := found[kind.Name()]; done {
		return
	}
	fields := []Field{}
	found[kind.Name()] = nil
	for number := range kind.NumField() {
		field := kind.Field(number)
		if field.Type == reflect.TypeFor[Encoded]() {
			continue
		}
		described := Field{Embedded: field.Anonymous, JSON: field.Name}
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" {
			described.JSON = name
		}
		described.Unique = strings.Contains(field.Tag.Get("river"), "unique")
		inner := field.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct {
			described.Type = inner.Name()
			describe(inner, found)
		}
		fields = append(fields, described)
	}
	found[kind.Name()] = fields
}
