package keystore

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkKeysFromMemory measures Keys while the keys are in memory, as in
// most calls of a session.
func BenchmarkKeysFromMemory(b *testing.B) {
	p := newProcess(b, onSQLite)
	_, err := p.Create(b.Context(), "acme")
	require.NoError(b, err)
	p.current(b, "acme")
	ctx := b.Context()
	b.Run("one goroutine", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			if _, err := p.Keys(ctx, "acme"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("all cores", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := p.Keys(ctx, "acme"); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

// BenchmarkFirstUse measures one statement, and one request to a KMS that
// answers at once. A recheck is the statement alone.
func BenchmarkFirstUse(b *testing.B) {
	for _, backend := range backends {
		b.Run(backend.name, func(b *testing.B) {
			p := newProcess(b, backend)
			_, err := p.Create(b.Context(), "acme")
			require.NoError(b, err)
			for b.Loop() {
				p.forget("acme")
				p.current(b, "acme")
			}
		})
	}
}

// BenchmarkTenants has 10,000 tenants. A process that has just started asks for
// the keys of all of them, from 8 goroutines. Then the tenants are listed, and
// a hundredth of them is rewrapped. With -short there are 500 tenants: CI runs
// every benchmark once in that way.
func BenchmarkTenants(b *testing.B) {
	n := 10_000
	if testing.Short() {
		n = 500
	}
	tenant := func(i int) string { return fmt.Sprintf("tenant-%05d", i) }
	for _, backend := range backends {
		b.Run(backend.name, func(b *testing.B) {
			tb := newTable(b, backend)
			eight := func(p *process, work func(context.Context, string) error) {
				var group sync.WaitGroup
				for worker := range 8 {
					group.Go(func() {
						for i := worker; i < n; i += 8 {
							if err := work(context.Background(), tenant(i)); err != nil {
								b.Error(err)
							}
						}
					})
				}
				group.Wait()
			}
			p := tb.start(b)
			p.db.SetMaxOpenConns(8)
			p.db.SetMaxIdleConns(8)
			report := func(b *testing.B) {
				b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "tenants/s")
			}
			fill(b, p, n, tenant)
			b.Run("FirstUse", func(b *testing.B) {
				for b.Loop() {
					fresh := tb.start(b)
					fresh.db.SetMaxOpenConns(8)
					fresh.db.SetMaxIdleConns(8)
					eight(fresh, func(ctx context.Context, tenant string) error { _, err := fresh.Keys(ctx, tenant); return err })
				}
				report(b)
			})
			b.Run("List", func(b *testing.B) {
				for b.Loop() {
					require.Equal(b, n, len(p.list(b)))
				}
				report(b)
			})
			b.Run("Rewrap", func(b *testing.B) { // one commit for each key
				n := n / 100
				p.sql(b, "DELETE FROM {keys} WHERE tenant >= ?", tenant(n))
				for round := 2; b.Loop(); round++ {
					kms := newKMS(fmt.Sprint("kms-", round))
					older := map[string]Wrapper{fmt.Sprint("kms-", round-1): newKMS(fmt.Sprint("kms-", round-1))}
					rewrapped, err := tb.startWith(b, kms, WithOlderWrappers(older)).Rewrap(b.Context())
					require.NoError(b, err)
					require.Equal(b, n, rewrapped)
				}
				b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "tenants/s")
			})
		})
	}
}

// fill makes n tenants in one transaction.
func fill(b *testing.B, p *process, n int, tenant func(int) string) {
	require.NoError(b, p.inTransaction(b.Context(), func(c conn) error {
		for i := range n {
			made, err := p.newRow(b.Context(), tenant(i), 1)
			if err != nil {
				return err
			}
			_, err = c.exec(b.Context(), "INSERT INTO {keys} (tenant, number, wrapped, wrapper, fingerprint, created_at, active_at) VALUES (?, 1, ?, ?, ?, {now}, {now})",
				tenant(i), made.wrapped, made.wrapper, made.fingerprint)
			if err != nil {
				return err
			}
		}
		return nil
	}))
}
