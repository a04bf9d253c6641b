package redisstore

import (
	_ "embed"
	"strings"
)

// Every call sends its script whole, by EVAL. The server keeps compiled
// scripts. EVALSHA would save little, but need another right, and another call
// if the server has forgotten the script.
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

// compact leaves out indentation, and comments on lines of their own. A shorter
// script saves time, because the server hashes each script that it receives.
func compact(script string) string {
	var short strings.Builder
	for line := range strings.Lines(script) {
		if line = strings.TrimLeft(line, " \n"); line != "" && !strings.HasPrefix(line, "--") {
			short.WriteString(line)
		}
	}
	return short.String()
}
