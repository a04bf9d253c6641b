// Package interop tests encsession, sqlstore and redisstore against the real
// OpenAI Agents SDK for Python. It has nothing to import. CONTRIBUTING.md says
// how to run it.
package interop
