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

type keys struct {
	current encsession.Key
	read    []encsession.Key
}

// keysFromEnvironment returns the keys, or nil where ENCSESSION_KEY is not set. Set but empty is an error: it is what a
// secret that was not found often looks like, and to go on without a key would hide that.
func keysFromEnvironment(lookup environment) (*keys, error) {
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
	var k keys
	var err error
	if k.current, err = encsession.ParseKey(current); err != nil {
		return nil, fmt.Errorf("%s: %w", keyVariable, err)
	}
	for line := range strings.SplitSeq(readKeys, "\n") {
		if line == "" {
			continue
		}
		key, err := encsession.ParseKey(line)
		if err != nil {
			return nil, fmt.Errorf("%s: key %d: %w", readKeysVariable, len(k.read)+1, err)
		}
		k.read = append(k.read, key)
	}
	return &k, nil
}

// checkKeys returns an error where the keys do not suffice for the operation.
func (c config) checkKeys() error {
	switch {
	case c.operation != nil && c.keys == nil:
		return fmt.Errorf("-%s needs %s", c.operation.name, keyVariable)
	case c.operation == &rekey && len(c.keys.read) == 0:
		return errors.New("-rekey needs " + readKeysVariable + ", the keys to change from")
	}
	return nil
}
