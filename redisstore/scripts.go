package redisstore

import _ "embed"

// The scripts are sent whole with every call, by EVAL: the server keeps what it has compiled, so that EVALSHA would
// save no more than some hundred bytes, and in a MULTI a script that the server has forgotten must not fail on its
// own.
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

	addScript     = guard + addBody
	popScript     = guard + popBody
	rewriteScript = guard + rewriteBody
	clearScript   = guard + clearBody
)
