package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// These are the variables. Each of the first six can also name a file, with
// the suffix _FILE, since container secrets come as files.
const (
	storeVariable           = "ENCSESSION_STORE"
	keystoreVariable        = "ENCSESSION_KEYSTORE"
	keyVariable             = "ENCSESSION_KEY"
	pythonKeyVariable       = "ENCSESSION_PYTHON_KEY"
	olderKeysVariable       = "ENCSESSION_OLDER_KEYS"
	pythonOlderKeysVariable = "ENCSESSION_PYTHON_OLDER_KEYS"
	auditFileVariable       = "ENCSESSION_AUDIT_FILE"
	readKeysVariable        = "ENCSESSION_READ_KEYS" // of the old example
	fileSuffix              = "_FILE"
)

// check refuses a variable that looks like one of these, and is none: with a
// mistyped name, a command would go on without a key or an audit file.
func (e environment) check() error {
	known := []string{storeVariable, keystoreVariable, keyVariable, pythonKeyVariable, olderKeysVariable, pythonOlderKeysVariable}
	for name := range e {
		if slices.Contains(known, strings.TrimSuffix(name, fileSuffix)) || name == auditFileVariable || name == readKeysVariable {
			continue
		}
		for _, like := range []string{storeVariable, keyVariable, pythonKeyVariable, "ENCSESSION_OLDER_KEY", "ENCSESSION_PYTHON_OLDER", "ENCSESSION_AUDIT"} {
			if strings.HasPrefix(name, like) {
				return fmt.Errorf("%s is set, and is no variable of this command: encsession help lists them", name)
			}
		}
	}
	return nil
}

// source is a setting and its origin.
type source struct {
	variable string // without fileSuffix
	from     string // the variable, with fileSuffix if it is a file
	text     string
}

// isFile reports whether the text is the content of a file.
func (s source) isFile() bool { return s.from != s.variable }

// one returns the source of a setting, or nil if there is none. The variables
// are the ways to give the setting. Two sources are an error: nobody can tell
// which one is meant. An empty one is an error too, because a secret that was
// not found looks like that.
func (a *app) one(variables ...string) (*source, error) {
	if err := a.environment.check(); err != nil {
		return nil, err
	}
	var found *source
	for _, variable := range variables {
		for _, from := range []string{variable, variable + fileSuffix} {
			text, ok := a.environment[from]
			if !ok {
				continue
			}
			if found != nil {
				return nil, fmt.Errorf("%s and %s are both set, and give the same thing: unset one of them", found.from, from)
			}
			if text == "" {
				return nil, fmt.Errorf("%s is set, but empty: unset it if you do without", from)
			}
			found = &source{variable: variable, from: from, text: text}
		}
	}
	if found == nil || !found.isFile() {
		return found, nil
	}
	content, err := os.ReadFile(found.text)
	if pathError, ok := errors.AsType[*os.PathError](err); ok {
		err = pathError.Err // without the name, which may be the secret itself, set by mistake
	}
	if err != nil {
		return nil, fmt.Errorf("%s: cannot read the file: %w", found.from, err)
	}
	if strings.TrimSpace(string(content)) == "" {
		return nil, fmt.Errorf("%s: the file is empty", found.from)
	}
	found.text = string(content)
	return found, nil
}
