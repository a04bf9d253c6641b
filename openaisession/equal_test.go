package openaisession

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEqualJSON(t *testing.T) {
	for _, test := range []struct {
		a, b  string
		equal bool
	}{
		{`{"a":1,"b":[true,null,"\u00e9"]}`, `{ "b": [true, null, "é"], "a": 1 }`, true},
		{`[1,2]`, `[2,1]`, false},
		{`{"a":null}`, `{}`, false},
		{`"1"`, `1`, false},
		{`1`, `1.0`, true},
		{`5e-1`, `0.5`, true},
		{`0.005`, `5E-3`, true},
		{`25E1`, `250`, true},
		{`1e+2`, `100`, true},
		{`0e7`, `0`, true},
		{`-0.0`, `0`, true},
		{`-1`, `1`, false},
		{`10`, `1`, false},
		{`0.10`, `0.01`, false},
		{`9007199254740993`, `9007199254740992`, false},
		{`1e400`, `10e399`, true},
		{`1e400`, `1e401`, false},
		{`1e-99999999999999999999`, `0`, false},
		{`1e99999999999999999999`, `1e99999999999999999998`, false},
		{`1e99999999999999999999`, `1e99999999999999999999`, true},
		{`10e9223372036854775807`, `1e-9223372036854775808`, false}, // as if the exponent went round
		{`100e9223372036854775807`, `1e-9223372036854775807`, false},
		{`{`, `{`, false},
		{`1`, ``, false},
	} {
		require.Equal(t, test.equal, equalJSON([]byte(test.a), []byte(test.b)), "%s and %s", test.a, test.b)
		require.Equal(t, test.equal, equalJSON([]byte(test.b), []byte(test.a)), "%s and %s", test.b, test.a)
	}
}
