package otelsession_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/otelsession"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// newObserver returns an observer, and a func that reads its records.
func newObserver(t testing.TB) (func(context.Context, encsession.Event), func() map[string]metricdata.Metrics) {
	reader := sdk.NewManualReader()
	observe, err := otelsession.New(sdk.NewMeterProvider(sdk.WithReader(reader)))
	require.NoError(t, err)
	return observe, func() map[string]metricdata.Metrics {
		var data metricdata.ResourceMetrics
		require.NoError(t, reader.Collect(context.Background(), &data))
		require.Len(t, data.ScopeMetrics, 1)
		require.Equal(t, "github.com/encsession/encsession/otelsession", data.ScopeMetrics[0].Scope.Name)
		all := make(map[string]metricdata.Metrics)
		for _, m := range data.ScopeMetrics[0].Metrics {
			all[m.Name] = m
		}
		return all
	}
}

// sums returns the values of a counter other than 0, by attributes.
func sums(t testing.TB, m metricdata.Metrics) map[string]int64 {
	if m.Data == nil {
		return map[string]int64{}
	}
	require.Equal(t, "{item}", m.Unit)
	require.NotEmpty(t, m.Description)
	sum, ok := m.Data.(metricdata.Sum[int64])
	require.True(t, ok)
	require.True(t, sum.IsMonotonic)
	values := make(map[string]int64)
	for _, point := range sum.DataPoints {
		if point.Value != 0 {
			values[point.Attributes.Encoded(attribute.DefaultEncoder())] = point.Value
		}
	}
	return values
}

// calls returns the numbers of calls in the histogram, by attributes.
func calls(t testing.TB, all map[string]metricdata.Metrics) map[string]uint64 {
	m := all["encsession.operation.duration"]
	require.Equal(t, "s", m.Unit)
	counts := make(map[string]uint64)
	for _, point := range m.Data.(metricdata.Histogram[float64]).DataPoints {
		counts[point.Attributes.Encoded(attribute.DefaultEncoder())] = point.Count
	}
	return counts
}

func key(t testing.TB, first byte) encsession.Key {
	secret := make([]byte, 32)
	secret[0] = first
	key, err := encsession.NewKey(secret)
	require.NoError(t, err)
	return key
}

func TestCallsOfASessionAreCounted(t *testing.T) {
	observe, read := newObserver(t)
	ctx := t.Context()
	store := encsession.NewMemorySession("user-123")
	old, err := encsession.New(store, key(t, 2), encsession.WithUnreadableHistory())
	require.NoError(t, err)
	require.NoError(t, store.AddItems(ctx, encsession.Item(`{"role":"plaintext"}`)))
	require.NoError(t, old.AddItems(ctx, encsession.Item(`{"n":1}`), encsession.Item(`{"n":2}`)))
	lost, err := encsession.New(store, key(t, 3), encsession.WithUnreadableHistory())
	require.NoError(t, err)
	require.NoError(t, lost.AddItems(ctx, encsession.Item(`{"n":3}`)))

	session, err := encsession.New(store, encsession.Keyring{Current: key(t, 1), Older: []encsession.Key{key(t, 2)}},
		encsession.WithUnreadableHistory(), encsession.WithObserver(observe))
	require.NoError(t, err)
	require.NoError(t, session.AddItems(ctx, encsession.Item(`{"n":4}`)))
	_, err = session.GetItems(ctx, 0)
	require.NoError(t, err)
	_, err = session.PopItem(ctx)
	require.NoError(t, err)
	_, err = session.Rekey(ctx)
	require.Error(t, err)
	require.Error(t, session.AddItems(ctx, encsession.Item(`no item`)))

	all := read()
	require.Equal(t, map[string]int64{"encsession.operation=AddItems": 1, "encsession.operation=Rekey": 2}, sums(t, all["encsession.item.sealed"]))
	require.Equal(t, map[string]int64{
		"encsession.key.role=current,encsession.operation=GetItems": 1,
		"encsession.key.role=older,encsession.operation=GetItems":   2,
		"encsession.key.role=current,encsession.operation=PopItem":  1,
		"encsession.key.role=older,encsession.operation=Rekey":      2,
	}, sums(t, all["encsession.item.opened"]))
	require.Equal(t, map[string]int64{"encsession.operation=GetItems": 1, "encsession.operation=Rekey": 1}, sums(t, all["encsession.item.plaintext"]))
	require.Equal(t, map[string]int64{"encsession.operation=PopItem": 1}, sums(t, all["encsession.item.removed"]))
	require.Equal(t, map[string]int64{
		"encsession.drop.reason=plaintext,encsession.operation=GetItems":     1,
		"encsession.drop.reason=undecryptable,encsession.operation=GetItems": 1,
	}, sums(t, all["encsession.item.dropped"]))
	require.Equal(t, map[string]uint64{
		"encsession.operation=AddItems":                         1,
		"encsession.operation=AddItems,error.type=invalid_item": 1,
		"encsession.operation=GetItems":                         1,
		"encsession.operation=PopItem":                          1,
		"encsession.operation=Rekey,error.type=skipped":         1,
	}, calls(t, all))
	require.Len(t, all, 6)
}

func TestDurationIsInSeconds(t *testing.T) {
	observe, read := newObserver(t)
	observe(t.Context(), encsession.Event{Op: "GetItems", Duration: 1500 * time.Millisecond})
	observe(t.Context(), encsession.Event{Op: "GetItems", Duration: 30 * time.Microsecond})
	point := read()["encsession.operation.duration"].Data.(metricdata.Histogram[float64]).DataPoints[0]
	require.InDelta(t, 1.50003, point.Sum, 1e-9)
	require.Equal(t, []float64{0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60}, point.Bounds)
	require.Equal(t, []uint64{1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0}, point.BucketCounts)
}

func TestDropsAreCountedByReason(t *testing.T) {
	observe, read := newObserver(t)
	var drops []encsession.Drop
	for i, reason := range []error{encsession.ErrExpired, encsession.ErrFuture, encsession.ErrUndecryptable, encsession.ErrMalformed, encsession.ErrPlaintext} {
		for range i + 1 {
			drops = append(drops, encsession.Drop{Err: fmt.Errorf("encsession: %w", reason)})
		}
	}
	observe(t.Context(), encsession.Event{Op: "PopItem", Drops: drops})
	require.Equal(t, map[string]int64{
		"encsession.drop.reason=expired,encsession.operation=PopItem":       1,
		"encsession.drop.reason=future,encsession.operation=PopItem":        2,
		"encsession.drop.reason=undecryptable,encsession.operation=PopItem": 3,
		"encsession.drop.reason=malformed,encsession.operation=PopItem":     4,
		"encsession.drop.reason=plaintext,encsession.operation=PopItem":     5,
	}, sums(t, read()["encsession.item.dropped"]))
}

func TestSeriesOfTheDashboardExistFromTheStart(t *testing.T) {
	_, read := newObserver(t)
	all := read()
	require.Len(t, all["encsession.item.opened"].Data.(metricdata.Sum[int64]).DataPoints, 4)
	require.Len(t, all["encsession.item.dropped"].Data.(metricdata.Sum[int64]).DataPoints, 10)
	require.Empty(t, sums(t, all["encsession.item.opened"]))
}

func TestErrorsAreClassified(t *testing.T) {
	for want, err := range map[string]error{
		"skipped":           &encsession.SkippedError{Undecryptable: 1},
		"canceled":          context.Canceled,
		"deadline_exceeded": context.DeadlineExceeded,
		"key_destroyed":     encsession.ErrKeyDestroyed,
		"key_changed":       encsession.ErrKeyChanged,
		"invalid_item":      encsession.ErrInvalidItem,
		"unsupported":       errors.Join(errors.ErrUnsupported, encsession.ErrUndecryptable),
		"future":            encsession.ErrFuture,
		"undecryptable":     encsession.ErrUndecryptable,
		"malformed":         encsession.ErrMalformed,
		"plaintext":         encsession.ErrPlaintext,
		"_OTHER":            errors.New("connection to user-123 refused"),
	} {
		observe, read := newObserver(t)
		observe(t.Context(), encsession.Event{Op: "GetItems", Err: fmt.Errorf("encsession: %w", err)})
		require.Equal(t, map[string]uint64{"encsession.operation=GetItems,error.type=" + want: 1}, calls(t, read()))
	}
}

// TestSeriesAreBounded: a service may have a million sessions, and a store may
// return any error.
func TestSeriesAreBounded(t *testing.T) {
	observe, read := newObserver(t)
	for i := range 1000 {
		name := fmt.Sprintf("user-%d", i)
		observe(t.Context(), encsession.Event{Op: encsession.Op(name), SessionID: name, Err: errors.New(name), Sealed: 1, Opened: 1, Plaintext: 1, Removed: 1,
			Drops: []encsession.Drop{{Err: errors.New(name)}}})
	}
	all := read()
	require.Equal(t, map[string]uint64{"encsession.operation=_OTHER,error.type=_OTHER": 1000}, calls(t, all))
	require.NotContains(t, fmt.Sprint(all), "user-")
	require.Equal(t, map[string]int64{"encsession.operation=_OTHER": 1000}, sums(t, all["encsession.item.sealed"]))
}

func TestOperationsAreAllMethods(t *testing.T) {
	observe, read := newObserver(t)
	session, err := encsession.New(encsession.NewMemorySession("a"), key(t, 1), encsession.WithObserver(observe))
	require.NoError(t, err)
	ctx := t.Context()
	var errs []error
	collect := func(_ any, err error) { errs = append(errs, err) }
	collect(session.GetItems(ctx, 0))
	collect(nil, session.AddItems(ctx))
	collect(session.PopItem(ctx))
	collect(nil, session.ClearSession(ctx))
	collect(session.RewriteItems(ctx, 1, func([]encsession.Item) ([]encsession.Item, bool) { return nil, false }))
	collect(session.Audit(ctx))
	collect(session.Rekey(ctx))
	collect(session.SealPlaintext(ctx))
	collect(session.Purge(ctx, 0))
	collect(session.DeleteItems(ctx, func(encsession.Item) bool { return false }))
	require.NoError(t, errors.Join(errs...))
	seen := calls(t, read())
	require.Len(t, seen, len(errs))
	for attributes := range seen {
		require.False(t, strings.Contains(attributes, "_OTHER"), attributes)
	}
}

// failing is a provider whose meter cannot make a histogram.
type failing struct{ noop.MeterProvider }

type failingMeter struct{ noop.Meter }

var errFault = errors.New("fault")

func (failing) Meter(string, ...metric.MeterOption) metric.Meter { return failingMeter{} }

func (failingMeter) Float64Histogram(string, ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	return nil, errFault
}

func TestProviderThatIsNilOrFailsIsAnError(t *testing.T) {
	for _, provider := range []metric.MeterProvider{nil, (*sdk.MeterProvider)(nil)} {
		observe, err := otelsession.New(provider)
		require.ErrorContains(t, err, "otelsession: New: provider is nil")
		require.Nil(t, observe)
	}
	observe, err := otelsession.New(failing{})
	require.ErrorIs(t, err, errFault)
	require.Nil(t, observe)
	observe, err = otelsession.New(noop.NewMeterProvider())
	require.NoError(t, err)
	observe(t.Context(), encsession.Event{})
}

func TestDocumentationNamesEveryInstrument(t *testing.T) {
	observe, read := newObserver(t)
	observe(t.Context(), encsession.Event{Op: "GetItems", Sealed: 1, Plaintext: 1, Removed: 1})
	documentation := slices.Concat(file(t, "doc.go"), file(t, "README.md"))
	for name := range read() {
		require.Equal(t, 2, strings.Count(string(documentation), name), name)
	}
}

func file(t testing.TB, name string) []byte {
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	return text
}
