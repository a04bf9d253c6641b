package keystore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

func TestRotateByProcessesAtOnceMakesOneKey(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		tb := newTable(t, b)
		processes := []*process{tb.start(t), tb.start(t), tb.start(t)}
		for round := range 5 {
			tenant := fmt.Sprint("tenant-", round)
			processes[0].mustCreate(t, tenant)
			infos, errs := make([]KeyInfo, len(processes)), make([]error, len(processes))
			var group sync.WaitGroup
			for i, p := range processes {
				group.Go(func() { infos[i], errs[i] = p.Rotate(context.Background(), tenant, 1) })
			}
			group.Wait()
			done := 0
			for i, err := range errs {
				if err == nil {
					// A second process may have finished the Rotate of the
					// first.
					done++
					require.EqualValues(t, 2, infos[i].Number)
					require.False(t, infos[i].ActiveAt.IsZero())
				} else {
					require.ErrorIs(t, err, ErrConflict)
				}
			}
			require.Positive(t, done)
			processes[0].current(t, tenant)
			require.Len(t, processes[0].olderKeys(t, tenant), 1)
		}
	})
}

// In any order of the calls, the tenant ends destroyed, and no row holds a
// wrapped key.
func TestDestroyBesideEverythingElse(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		tb := newTable(t, b)
		p, other := tb.start(t), tb.start(t)
		newer := tb.startWith(t, newKMS("kms-2"), WithOlderWrappers(map[string]Wrapper{"kms-1": p.kms}))
		for name, work := range map[string]func(context.Context, string) error{
			"Create": func(ctx context.Context, tenant string) error { _, err := p.Create(ctx, tenant); return err },
			"Rotate": func(ctx context.Context, tenant string) error { _, err := p.Rotate(ctx, tenant, 1); return err },
			"Rewrap": func(ctx context.Context, _ string) error { _, err := newer.Rewrap(ctx); return err },
			"Retire": func(ctx context.Context, tenant string) error { return p.Unretire(ctx, tenant, 1) },
			"Keys":   func(ctx context.Context, tenant string) error { _, err := p.Keys(ctx, tenant); return err },
		} {
			for round := range 5 {
				tenant := fmt.Sprint(name, round)
				if name != "Create" {
					p.mustCreate(t, tenant)
				}
				var group sync.WaitGroup
				var workErr, destroyErr error
				group.Go(func() { workErr = work(context.Background(), tenant) })
				group.Go(func() { _, destroyErr = other.Destroy(context.Background(), tenant) })
				group.Wait()
				require.NoError(t, destroyErr, name)
				if workErr != nil {
					require.ErrorIs(t, workErr, encsession.ErrKeyDestroyed, name)
				}
				v, err := other.read(t.Context(), tenant)
				require.NoError(t, err)
				require.True(t, v.erased(), name)
			}
		}
	})
}

// The same, with Destroy at each single step of the other calls.
func TestDestroyAtEveryStepOfTheOthers(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		tb := newTable(t, b)
		for name, work := range map[string]func(p *process, tenant string) error{
			"Create": func(p *process, tenant string) error { _, err := p.Create(context.Background(), tenant); return err },
			"Rotate": func(p *process, tenant string) error {
				_, err := p.Rotate(context.Background(), tenant, 1)
				return err
			},
			"Rewrap": func(p *process, tenant string) error { _, err := p.Rewrap(context.Background()); return err },
		} {
			for step := 1; ; step++ {
				tenant := fmt.Sprint(name, step)
				destroyer := tb.start(t)
				if name != "Create" {
					destroyer.mustCreate(t, tenant)
				}
				p := tb.startWith(t, newKMS("kms-2"), WithOlderWrappers(map[string]Wrapper{"kms-1": newKMS("kms-1")}))
				seen, locked, done := 0, false, false
				p.statement = func(query string) {
					if seen++; seen != step {
						locked = locked || query == "BEGIN IMMEDIATE" || query == "START TRANSACTION" || query == "BEGIN ISOLATION LEVEL READ COMMITTED"
						return
					}
					done = true
					if locked { // Destroy would wait for the end of this transaction
						return
					}
					_, err := destroyer.Destroy(context.Background(), tenant)
					require.NoError(t, err)
				}
				err := work(p, tenant)
				if !done {
					break
				}
				if err != nil {
					require.ErrorIs(t, err, encsession.ErrKeyDestroyed)
				}
				_, err = destroyer.Destroy(t.Context(), tenant)
				require.NoError(t, err)
				v, err := destroyer.read(t.Context(), tenant)
				require.NoError(t, err)
				require.True(t, v.erased())
				_, err = p.Keys(t.Context(), tenant)
				require.True(t, errors.Is(err, encsession.ErrKeyDestroyed), err)
			}
		}
	})
}

// No transaction is open during a request to the KMS.
func TestNoTransactionWaitsForTheKMS(t *testing.T) {
	p := newProcess(t, onSQLite, WithAutoCreate())
	open := false
	p.statement = func(query string) {
		switch query {
		case "BEGIN IMMEDIATE":
			open = true
		case "COMMIT", "ROLLBACK":
			open = false
		}
	}
	p.kms.decrypt = func(context.Context) error { require.False(t, open); return nil }
	p.kms.encrypt = p.kms.decrypt
	p.mustCreate(t, "acme")
	p.mustRotate(t, "acme", 1)
	p.current(t, "acme")
	p.current(t, "auto")
	p.Store.current.Name, p.older["kms-1"] = "kms-2", p.kms
	n, err := p.Rewrap(t.Context())
	require.NoError(t, err)
	require.Equal(t, 3, n)
}
