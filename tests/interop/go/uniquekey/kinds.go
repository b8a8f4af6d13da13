package uniquekey

import (
	"encoding/json"
	"fmt"

	"github.com/riverqueue/river"
)

// Encoded is args text that River takes as it is, save for Go's HTML escapes and white space.
type Encoded struct{ Text json.RawMessage }

// MarshalJSON gives the text.
func (e Encoded) MarshalJSON() ([]byte, error) { return e.Text, nil }

// allArgs selects no field, so all count.
type allArgs struct {
	encoded Encoded
	kind    string
}

func (a allArgs) Kind() string { return a.kind }

func (a allArgs) MarshalJSON() ([]byte, error) { return a.encoded.MarshalJSON() }

// selectedArgs selects account.id, account.region, label and path/key.
type selectedArgs struct {
	encoded Encoded

	Account struct {
		ID     string `json:"id,omitempty" river:"unique"`
		Region string `json:"region,omitempty" river:"unique"`
		Name   string `json:"name,omitempty"`
	} `json:"account"`
	Label   *string `json:"label" river:"unique"`
	PathKey string  `json:"path/key,omitempty" river:"unique"`
	Note    string  `json:"note,omitempty"`
}

func (selectedArgs) Kind() string { return "conformance_selected_args" }

func (a selectedArgs) MarshalJSON() ([]byte, error) { return a.encoded.MarshalJSON() }

// dottedArgs selects names that hold the syntax of JSON paths, each to be taken literally.
type dottedArgs struct {
	encoded Encoded

	Dotted string `json:"user.id" river:"unique"`
	User   struct {
		ID string `json:"id" river:"unique"`
	} `json:"user"`
	At      string `json:"@user" river:"unique"`
	Bang    string `json:"!x" river:"unique"`
	Brace   string `json:"{x}" river:"unique"`
	Bracket string `json:"[x]" river:"unique"`
	Colon   string `json:":id" river:"unique"`
	Wild    string `json:"a*b?c#d|e" river:"unique"`
	Accent  string `json:"é" river:"unique"`
}

func (dottedArgs) Kind() string { return "conformance_dotted_selected_args" }

func (a dottedArgs) MarshalJSON() ([]byte, error) { return a.encoded.MarshalJSON() }

// ArgsOf are args of one of the contract's kinds with the given text.
func ArgsOf(kind string, text json.RawMessage) (river.JobArgs, error) {
	encoded := Encoded{text}
	switch kind {
	case "conformance_all_args", "conformance_numeric_boundaries", "conformance_simple":
		return allArgs{encoded, kind}, nil
	case "conformance_selected_args":
		return selectedArgs{encoded: encoded}, nil
	case "conformance_dotted_selected_args":
		return dottedArgs{encoded: encoded}, nil
	}
	return nil, fmt.Errorf("no args type for kind %q", kind)
}
