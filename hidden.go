package encsession

// hidden holds a value that fmt does not print. fmt prints unexported fields
// without asking their methods, and under %s it follows pointers; of a func it
// prints only the address.
type hidden[T any] func() T

func hide[T any](value T) hidden[T] { return func() T { return value } }

// value returns the zero T if h is nil.
func (h hidden[T]) value() (v T) {
	if h != nil {
		v = h()
	}
	return v
}
