package redisstore

import (
	_ "embed"
	"strings"
)

// The scripts are sent whole with every call, by EVAL: the server keeps what it
// has compiled. EVALSHA would save little, but need another right, and another
// call if the server has forgotten the script.
var (
	//go:embed guard.lua
	guard string
	//go:embed add.lua
	addBody string
	//go:embed pop.lua
	popBody string
	//go:embed rewrite.lua
	rewriteBody string
	//go:embed clear.lua
	clearBody string

	addScript     = compact(guard + addBody)
	popScript     = compact(guard + popBody)
	rewriteScript = compact(guard + rewriteBody)
	clearScript   = compact(guard + clearBody)
)

// compact leaves out comments that have lines of their own, and indentation. The
// server hashes what it is sent.
func compact(script string) string {
	var short strings.Builder
	for line := range strings.Lines(script) {
		if line = strings.TrimLeft(line, " \n"); line != "" && !strings.HasPrefix(line, "--") {
			short.WriteString(line)
		}
	}
	return short.String()
}
