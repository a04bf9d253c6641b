package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/encsession/encsession"
)

// rawFingerprint is the fingerprint of every raw secret.
const rawFingerprint = "raw"

// keys returns the keys of the environment, or nil if there are none.
func (a *app) keys() (*encsession.Keyring, error) {
	if _, ok := a.environment[readKeysVariable]; ok {
		return nil, fmt.Errorf("%s was a variable of the example that this command replaces: give older keys by %s, or by %s if Python reads them",
			readKeysVariable, olderKeysVariable, pythonOlderKeysVariable)
	}
	current, err := a.one(keyVariable, pythonKeyVariable)
	if err != nil {
		return nil, err
	}
	older, err := a.one(olderKeysVariable, pythonOlderKeysVariable)
	if err != nil {
		return nil, err
	}
	if current == nil {
		if older != nil {
			return nil, fmt.Errorf("%s is set, but no current key: set %s or %s", older.from, keyVariable, pythonKeyVariable)
		}
		return nil, nil
	}
	var ring encsession.Keyring
	if current.variable == keyVariable {
		ring.Current, err = encsession.ParseKey(current.text)
	} else if err = current.checkLineEnd(); err == nil {
		ring.Current, err = encsession.ParsePythonKey(current.text)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", current.from, advise(err, current.variable))
	}
	if older != nil {
		ring.Older, err = older.lines()
	}
	for _, key := range ring.Older {
		if f := key.Fingerprint(); f == ring.Current.Fingerprint() && f != rawFingerprint {
			return nil, fmt.Errorf("%s: the current key %s is among the older keys: give the key that it replaces", older.from, f)
		}
	}
	return &ring, err
}

// neededKeys returns the keys for a command that needs them.
func (a *app) neededKeys(command string) (*encsession.Keyring, error) {
	ring, err := a.keys()
	if err == nil && ring == nil {
		err = fmt.Errorf("%s needs a key: set %s to a Fernet key, or %s to any string as Python reads it; or add %s to either name, and set it to the path of a file",
			command, keyVariable, pythonKeyVariable, fileSuffix)
	}
	return ring, err
}

// lines reads one key from each line. It passes over empty lines.
func (s *source) lines() (keys []encsession.Key, err error) {
	parse := encsession.ParseKey
	if s.variable == pythonOlderKeysVariable {
		parse = encsession.ParsePythonKey
	}
	number := 0
	for line := range strings.SplitSeq(s.text, "\n") {
		number++
		if strings.TrimSuffix(line, "\r") == "" {
			continue
		}
		key, err := parse(line)
		if err == nil && key.Fingerprint() == rawFingerprint && strings.HasSuffix(line, "\r") {
			err = errors.New("the line ends in a carriage return, which would be a part of the secret: end lines with a line feed alone")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", s.from, number, advise(err, s.variable))
		}
		keys = append(keys, key)
	}
	if keys == nil {
		return nil, fmt.Errorf("%s holds no key: unset it if you do without", s.from)
	}
	return keys, nil
}

// checkLineEnd refuses a raw secret in a file that ends in a line break.
// Whether Python takes the break as part of the secret depends on how the
// service reads the file. A Fernet key is the same key either way.
func (s *source) checkLineEnd() error {
	if !s.isFile() || !strings.HasSuffix(s.text, "\n") {
		return nil
	}
	key, err := encsession.ParsePythonKey(s.text)
	if err != nil || key.Fingerprint() != rawFingerprint {
		return err
	}
	return fmt.Errorf("the file ends in a line break, and nobody can tell whether that belongs to the raw secret: write the file without it, "+
		"or give the secret by %s", s.variable)
}

// advise adds the variable for raw secrets to an error of ParseKey. The error
// itself speaks of functions.
func advise(err error, variable string) error {
	switch variable {
	case keyVariable:
		return fmt.Errorf("%w; for other strings, set %s", err, pythonKeyVariable)
	case olderKeysVariable:
		return fmt.Errorf("%w; for other strings, set %s", err, pythonOlderKeysVariable)
	}
	return err
}

// keyName names the key at a place in a keyring. The current key has place 0.
func keyName(ring *encsession.Keyring, place int) string {
	if place == 0 {
		return "current key (" + ring.Current.Fingerprint() + ")"
	}
	return fmt.Sprintf("older key %d (%s)", place, ring.Older[place-1].Fingerprint())
}

// fingerprints returns the fingerprints of the older keys.
func fingerprints(ring *encsession.Keyring) []string {
	var all []string
	for _, key := range ring.Older {
		all = append(all, key.Fingerprint())
	}
	return all
}
