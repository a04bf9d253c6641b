// Package otelsession feeds OpenTelemetry's metrics from the events of
// [encsession.EncryptedSession]. [New] makes the observer:
//
//	observe, err := otelsession.New(otel.GetMeterProvider())
//	session, err := encsession.New(store, key, encsession.WithTTL(24*time.Hour),
//		encsession.WithObserver(observe))
//
// # Instruments
//
//	encsession.operation.duration  histogram, s      calls of methods
//	encsession.item.sealed         counter, {item}   items sealed
//	encsession.item.opened         counter, {item}   stored items that a key has opened, expired ones too
//	encsession.item.plaintext      counter, {item}   stored items found that were not encrypted
//	encsession.item.removed        counter, {item}   items removed
//	encsession.item.dropped        counter, {item}   stored items that a read left out
//
// Their attributes have few values, so the number of time series is bounded:
//
//	encsession.operation    of all; the method: GetItems, AddItems, Rekey and so on
//	encsession.key.role     of item.opened; current or older
//	encsession.drop.reason  of item.dropped; expired, future, undecryptable, malformed or plaintext
//	error.type              of operation.duration, if the call has failed
//
// The error.type is one of skipped, canceled, deadline_exceeded, key_destroyed,
// key_changed, future, undecryptable, malformed, plaintext, invalid_item and
// unsupported, or else _OTHER. The value skipped stands for an
// [encsession.SkippedError]: the operation has finished. Session IDs,
// fingerprints of keys and texts of errors are never attributes.
//
// # Dashboard
//
// "The old key is still in use" is the rate of items that reads open with an
// older key, here in PromQL:
//
//	sum(rate(encsession_item_opened_total{encsession_key_role="older", encsession_operation=~"GetItems|PopItem"}[1h]))
//
// While it is above 0, a service needs the key. A rate of 0 does not prove the
// opposite: perhaps nobody has read the sessions that need it. Before you
// retire the key, Audit has to show for every session that the key opens
// nothing.
//
// A wrong key shows as
//
//	sum(rate(encsession_item_dropped_total{encsession_drop_reason="undecryptable"}[5m]))
//
// The series of both queries exist from the start, with the value 0.
package otelsession
