// Package interop tests encsession, sqlstore and redisstore against the real
// OpenAI Agents SDK for Python, and keystore with real key services. It has
// nothing to import. CONTRIBUTING.md says how to run it.
package interop
