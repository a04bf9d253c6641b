package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/encsession/encsession"
)

const (
	keyVariable      = "ENCSESSION_KEY"
	readKeysVariable = "ENCSESSION_READ_KEYS"
)

// keysFromEnvironment returns the keys, or nil if ENCSESSION_KEY is not set. Set
// but empty is an error: a secret that was not found often looks so, and to go on
// without a key would hide that.
//
// Keys are any text, as in Python, whose databases are looked into here too. A
// service whose keys come from GenerateKey would use ParseKey, which refuses a
// mistyped key.
func keysFromEnvironment(lookup environment) (*encsession.Keyring, error) {
	readKeys, _ := lookup(readKeysVariable)
	current, ok := lookup(keyVariable)
	switch {
	case !ok && readKeys != "":
		return nil, fmt.Errorf("%s is set and %s is not", readKeysVariable, keyVariable)
	case !ok:
		return nil, nil
	case current == "":
		return nil, fmt.Errorf("%s is set, but empty: unset it to look without a key", keyVariable)
	}
	var ring encsession.Keyring
	var err error
	if ring.Current, err = encsession.ParsePythonKey(current); err != nil {
		return nil, fmt.Errorf("%s: %w", keyVariable, err)
	}
	for line := range strings.SplitSeq(readKeys, "\n") {
		if line == "" {
			continue
		}
		key, err := encsession.ParsePythonKey(line)
		if err != nil {
			return nil, fmt.Errorf("%s: key %d: %w", readKeysVariable, len(ring.Older)+1, err)
		}
		ring.Older = append(ring.Older, key)
	}
	return &ring, nil
}

// checkKeys returns an error if the keys do not suffice for the operation.
func (c config) checkKeys() error {
	switch {
	case c.operation != nil && c.keys == nil:
		return fmt.Errorf("-%s needs %s", c.operation.name, keyVariable)
	case c.operation == &rekey && len(c.keys.Older) == 0:
		return errors.New("-rekey needs " + readKeysVariable + ", the keys to change from")
	}
	return nil
}
