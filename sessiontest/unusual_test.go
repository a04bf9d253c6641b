package sessiontest

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// unusualStores behave in ways that the interface allows and that most stores
// do not use.
var unusualStores = map[string]func(s *hooked){
	"writes JSON in its own way": func(s *hooked) {
		add, rewrite := s.add, s.rewrite
		s.add = func(ctx context.Context, items []encsession.Item) error { return add(ctx, rewritten(items)) }
		s.rewrite = func(ctx context.Context, first int, edit edit) (int, error) {
			return rewrite(ctx, first, func(stored []encsession.Item) ([]encsession.Item, bool) {
				new, more := edit(stored)
				return rewritten(new), more
			})
		}
	},
	"has no row IDs": func(s *hooked) { s.inPieces(func(*pieces) {}) },
	"refuses unusual IDs": func(s *hooked) {
		if strings.Trim(s.id, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" {
			return
		}
		errID := errors.New("cannot hold this ID")
		s.get = func(context.Context, int) ([]encsession.Item, error) { return nil, errID }
		s.add = func(context.Context, []encsession.Item) error { return errID }
		s.pop = func(context.Context) (encsession.Item, error) { return nil, errID }
		s.clear = func(context.Context) error { return errID }
		s.rewrite = func(context.Context, int, edit) (int, error) { return 0, errID }
	},
}

// rewritten returns the items with their members in order, and each member on a
// line of its own.
func rewritten(items []encsession.Item) []encsession.Item {
	items = slices.Clone(items)
	for i, item := range items {
		if value, err := decode(item); err == nil && item != nil {
			items[i], _ = json.MarshalIndent(value, "", "\t")
		}
	}
	return items
}

func TestUnusualStores(t *testing.T) {
	for name, change := range unusualStores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Empty(t, failing(t, sessionChecks, func() subject { return newMemory().subject(change) }))
		})
	}
}
