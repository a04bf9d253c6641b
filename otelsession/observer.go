package otelsession

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/encsession/encsession"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// These are the names of the attributes. They have a namespace of their own,
// except error.type, which OpenTelemetry defines.
const (
	operationKey = attribute.Key("encsession.operation")
	roleKey      = attribute.Key("encsession.key.role")
	reasonKey    = attribute.Key("encsession.drop.reason")
	errorKey     = attribute.Key("error.type")
)

// other is OpenTelemetry's value for an attribute if no defined value fits.
const other = "_OTHER"

// operations are the methods that observers are told of.
var operations = map[encsession.Op]bool{
	"GetItems": true, "AddItems": true, "PopItem": true, "ClearSession": true, "RewriteItems": true,
	"Audit": true, "Rekey": true, "SealPlaintext": true, "Purge": true, "DeleteItems": true,
}

// class is an error and its name in an attribute.
type class struct {
	err  error
	name string
}

// reasons are the reasons for drops.
var reasons = []class{
	{encsession.ErrExpired, "expired"},
	{encsession.ErrFuture, "future"},
	{encsession.ErrUndecryptable, "undecryptable"},
	{encsession.ErrMalformed, "malformed"},
	{encsession.ErrPlaintext, "plaintext"},
}

// failures are the errors of calls. The first that fits counts.
var failures = append([]class{
	{context.Canceled, "canceled"},
	{context.DeadlineExceeded, "deadline_exceeded"},
	{encsession.ErrKeyDestroyed, "key_destroyed"},
	{encsession.ErrKeyChanged, "key_changed"},
	{encsession.ErrInvalidItem, "invalid_item"},
	{errors.ErrUnsupported, "unsupported"},
}, reasons[1:]...)

// seconds are the upper bounds of the histogram's buckets. OpenTelemetry's
// conventions give all but the last to calls of a database. The last is for
// operations on long sessions.
var seconds = []float64{0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60}

// observer records events. New makes one.
type observer struct {
	duration                                    metric.Float64Histogram
	sealed, opened, plaintext, removed, dropped metric.Int64Counter
}

// New returns an observer for [encsession.WithObserver]. It records each event
// with a meter of the provider, and may serve any number of sessions. New
// refuses a nil provider, and returns the errors of the provider.
func New(provider metric.MeterProvider) (func(context.Context, encsession.Event), error) {
	o, err := newObserver(provider)
	if err != nil {
		return nil, fmt.Errorf("otelsession: New: %w", err)
	}
	return o.observe, nil
}

func newObserver(provider metric.MeterProvider) (*observer, error) {
	if v := reflect.ValueOf(provider); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, errors.New("provider is nil: give that of your application, or otel.GetMeterProvider()")
	}
	meter := provider.Meter("github.com/encsession/encsession/otelsession")
	var o observer
	var errs [6]error
	counter := func(name, description string) (metric.Int64Counter, error) {
		return meter.Int64Counter(name, metric.WithUnit("{item}"), metric.WithDescription(description))
	}
	o.duration, errs[0] = meter.Float64Histogram("encsession.operation.duration", metric.WithUnit("s"),
		metric.WithDescription("Duration of calls of an encrypted session."), metric.WithExplicitBucketBoundaries(seconds...))
	o.sealed, errs[1] = counter("encsession.item.sealed", "Items sealed.")
	o.opened, errs[2] = counter("encsession.item.opened", "Stored items that a key has opened, by the role of the key.")
	o.plaintext, errs[3] = counter("encsession.item.plaintext", "Stored items found that were not encrypted.")
	o.removed, errs[4] = counter("encsession.item.removed", "Items removed.")
	o.dropped, errs[5] = counter("encsession.item.dropped", "Stored items that a read left out, by reason.")
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	// A rate needs a value from which it can rise.
	for _, op := range []encsession.Op{"GetItems", "PopItem"} {
		o.addOpened(context.Background(), encsession.Event{Op: op})
		for _, reason := range reasons {
			o.dropped.Add(context.Background(), 0, metric.WithAttributes(operation(op), reasonKey.String(reason.name)))
		}
	}
	return &o, nil
}

func (o *observer) observe(ctx context.Context, e encsession.Event) {
	op := operation(e.Op)
	attributes := []attribute.KeyValue{op}
	if e.Err != nil {
		attributes = append(attributes, errorKey.String(failure(e.Err)))
	}
	o.duration.Record(ctx, e.Duration.Seconds(), metric.WithAttributes(attributes...))
	add(ctx, o.sealed, e.Sealed, op)
	add(ctx, o.plaintext, e.Plaintext, op)
	add(ctx, o.removed, e.Removed, op)
	if e.Opened > 0 {
		o.addOpened(ctx, e)
	}
	if len(e.Drops) > 0 {
		for _, reason := range reasons {
			add(ctx, o.dropped, e.Dropped(reason.err), op, reasonKey.String(reason.name))
		}
	}
}

// addOpened adds to both roles. So a role that has no items is 0 rather than
// unknown.
func (o *observer) addOpened(ctx context.Context, e encsession.Event) {
	op := operation(e.Op)
	o.opened.Add(ctx, int64(e.Opened-e.OpenedByOlder), metric.WithAttributes(op, roleKey.String("current")))
	o.opened.Add(ctx, int64(e.OpenedByOlder), metric.WithAttributes(op, roleKey.String("older")))
}

func add(ctx context.Context, counter metric.Int64Counter, n int, attributes ...attribute.KeyValue) {
	if n > 0 {
		counter.Add(ctx, int64(n), metric.WithAttributes(attributes...))
	}
}

func operation(op encsession.Op) attribute.KeyValue {
	if !operations[op] {
		op = other // it is from a later version of encsession
	}
	return operationKey.String(string(op))
}

// failure classifies the error of a call.
func failure(err error) string {
	if skipped := (*encsession.SkippedError)(nil); errors.As(err, &skipped) {
		return "skipped"
	}
	for _, f := range failures {
		if errors.Is(err, f.err) {
			return f.name
		}
	}
	return other
}
