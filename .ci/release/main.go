// Release rehearses the release of all modules of the repository.
//
//	go run . -root ../.. -check "go vet ./..."    # from .ci/release
//
// It finds the modules and puts each into a module proxy of files, as it would
// be tagged. A tagged module has no replace lines, and requires its sister
// modules at the new version. Then Release uses that proxy as a stranger would:
//
//  1. An empty module gets every module from the proxy, imports every package
//     that can be imported, and runs their examples.
//  2. Every command, which is a main package below cmd/, is installed by its
//     path and @latest, and run. Its version must be that of the rehearsal.
//  3. A module that needs its sisters and has no replace lines cannot be
//     checked with GOWORK=off in the repository. A copy of it is checked with
//     that proxy. There, go mod tidy may change nothing but the sums of its
//     sisters, and each -check must succeed.
//
// Each run has a version of its own. It removes that version from the module
// cache at the end, so a rehearsal leaves nothing behind. Other modules come
// from the module cache, or from GOPROXY.
package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/mod/modfile"
	modulepath "golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := flag.String("root", "../..", "the root of the repository")
	var checks []string
	flag.Func("check", "a `command` to run in copies of modules without replace lines; may be given several times", func(s string) error {
		checks = append(checks, s)
		return nil
	})
	flag.Parse()
	if err := rehearse(ctx, *root, checks); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		stop()
		os.Exit(1)
	}
}

// module is a module of the repository.
type module struct {
	path   string
	folder string   // below the root, with slashes; "." for the root
	files  []string // the module's own files, below the root
	mod    *modfile.File
	// bare is true if the module needs its sisters and has no replace lines.
	bare bool
}

type rehearsal struct {
	ctx                  context.Context // ends with a signal
	root, scratch, proxy string
	version              string
	files                []string // all of the repository
	modules              []*module
}

func rehearse(ctx context.Context, root string, checks []string) (err error) {
	r := &rehearsal{ctx: ctx, version: fmt.Sprintf("v0.1.0-rehearsal.%d", time.Now().UnixNano())}
	if r.root, err = filepath.Abs(root); err != nil {
		return err
	}
	if r.scratch, err = os.MkdirTemp("", "release-"); err != nil {
		return err
	}
	r.proxy = filepath.Join(r.scratch, "proxy")
	if err := r.find(); err != nil {
		return err
	}
	cache, err := r.output(r.root, nil, "go", "env", "GOMODCACHE")
	if err != nil {
		return err
	}
	cache = strings.TrimSpace(cache)
	defer func() { err = errors.Join(err, r.forget(cache), os.RemoveAll(r.scratch)) }()
	for _, part := range []struct {
		name string
		do   func() error
	}{
		{"laid into the proxy", r.lay},
		{"got and used by an empty module", func() error { return r.consume(cache) }},
		{"installed and run", func() error { return r.install(cache) }},
		{"checked from the proxy", func() error { return r.check(cache, checks) }},
	} {
		start := time.Now()
		if err := part.do(); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		fmt.Printf("  %s, in %.0f s\n", part.name, time.Since(start).Seconds())
	}
	return nil
}

// find finds the modules whose paths match their folders below the root. Other
// modules, such as this one, are never tagged.
func (r *rehearsal) find() error {
	listed, err := r.output(r.root, nil, "git", "ls-files", "-z")
	if err != nil {
		return err
	}
	r.files = strings.Split(strings.TrimSuffix(listed, "\x00"), "\x00")
	for _, file := range r.files {
		if path.Base(file) != "go.mod" {
			continue
		}
		content, err := os.ReadFile(filepath.Join(r.root, file))
		if err != nil {
			return err
		}
		mod, err := modfile.Parse(file, content, nil)
		if err != nil {
			return err
		}
		r.modules = append(r.modules, &module{path: mod.Module.Mod.Path, folder: path.Dir(file), mod: mod})
	}
	for _, file := range r.files { // each file belongs to the module with the longest folder
		var own *module
		for _, m := range r.modules {
			if (m.folder == "." || strings.HasPrefix(file, m.folder+"/")) && (own == nil || len(m.folder) > len(own.folder) || own.folder == ".") {
				own = m
			}
		}
		if own != nil {
			own.files = append(own.files, file)
		}
	}
	i := slices.IndexFunc(r.modules, func(m *module) bool { return m.folder == "." })
	if i < 0 {
		return errors.New("the root is no module")
	}
	rootPath := r.modules[i].path
	r.modules = slices.DeleteFunc(r.modules, func(m *module) bool { return path.Join(rootPath, m.folder) != m.path })
	return nil
}

// sister reports whether a path is that of a module of the repository.
func (r *rehearsal) sister(modulePath string) bool {
	return slices.ContainsFunc(r.modules, func(m *module) bool { return m.path == modulePath })
}

// lay makes the archives and the other files that a proxy serves.
func (r *rehearsal) lay() error {
	for _, m := range r.modules {
		needs := false
		for _, require := range m.mod.Require {
			if !r.sister(require.Mod.Path) {
				continue
			}
			needs = true
			if err := m.mod.AddRequire(require.Mod.Path, r.version); err != nil {
				return err
			}
		}
		m.bare = needs && len(m.mod.Replace) == 0
		for _, replace := range slices.Clone(m.mod.Replace) {
			if err := m.mod.DropReplace(replace.Old.Path, replace.Old.Version); err != nil {
				return err
			}
		}
		m.mod.Cleanup()
		if err := r.layModule(m); err != nil {
			return fmt.Errorf("%s: %w", m.path, err)
		}
	}
	return nil
}

func (r *rehearsal) layModule(m *module) error {
	tree := filepath.Join(r.scratch, "trees", filepath.FromSlash(m.folder), "tree")
	files := m.files
	if !slices.Contains(files, path.Join(m.folder, "LICENSE")) { // then the module has the one of the root, as with go
		files = append(slices.Clone(files), "LICENSE")
	}
	if err := r.copyTo(files, m, m.folder, tree); err != nil {
		return err
	}
	escaped, err := modulepath.EscapePath(m.path)
	if err != nil {
		return err
	}
	folder := filepath.Join(r.proxy, filepath.FromSlash(escaped), "@v")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	var archive bytes.Buffer
	if err := zip.CreateFromDir(&archive, modulepath.Version{Path: m.path, Version: r.version}, tree); err != nil {
		return err
	}
	mod, err := m.mod.Format()
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		r.version + ".zip":  archive.Bytes(),
		r.version + ".mod":  mod,
		r.version + ".info": fmt.Appendf(nil, `{"Version":%q,"Time":%q}`, r.version, time.Now().UTC().Format(time.RFC3339)),
		"list":              []byte(r.version + "\n"),
	} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// copyTo copies files to another folder. It keeps their places relative to the
// folder below in the repository. The module's go.mod is written as it would be
// tagged.
func (r *rehearsal) copyTo(files []string, m *module, below, to string) error {
	for _, file := range files {
		content, err := os.ReadFile(filepath.Join(r.root, file))
		if err == nil && file == path.Join(m.folder, "go.mod") {
			content, err = m.mod.Format()
		}
		if err != nil {
			return err
		}
		name := filepath.Join(to, filepath.FromSlash(strings.TrimPrefix(file, below+"/")))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// environment is the environment of a stranger: no workspace, and the proxy
// first. GOFLAGS stay, so that packages which are built need not be built again.
// Nothing comes from version control, because no version is tagged
// there.
func (r *rehearsal) environment(cache string, more ...string) []string {
	proxies := []string{fileURL(r.proxy), fileURL(filepath.Join(cache, "cache", "download"))}
	for proxy := range strings.SplitSeq(cmp.Or(os.Getenv("GOPROXY"), "https://proxy.golang.org"), ",") {
		if proxy != "direct" {
			proxies = append(proxies, proxy)
		}
	}
	environment := append(os.Environ(), "GOWORK=off", "GOPROXY="+strings.Join(proxies, ","),
		strings.TrimSpace("GOFLAGS=-mod=mod "+os.Getenv("GOFLAGS")))
	i := slices.IndexFunc(r.modules, func(m *module) bool { return m.folder == "." })
	return append(append(environment, "GONOSUMDB="+r.modules[i].path), more...) // and of all modules below it
}

func fileURL(folder string) string {
	folder = filepath.ToSlash(folder)
	if !strings.HasPrefix(folder, "/") { // C:/…
		folder = "/" + folder
	}
	return "file://" + folder
}

// untagged are the modules that nobody imports.
var untagged = []string{"compare", "examples", "interop"}

// consume lets an empty module use all modules that are tagged.
func (r *rehearsal) consume(cache string) error {
	consumer := filepath.Join(r.scratch, "consumer")
	if err := os.MkdirAll(consumer, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(consumer, "go.mod"), []byte("module consumer\n\ngo 1.26.0\n"), 0o644); err != nil {
		return err
	}
	environment := r.environment(cache)
	get := []string{"get", "-t"}
	var patterns []string
	for _, m := range r.modules {
		if !slices.Contains(untagged, m.folder) {
			get, patterns = append(get, m.path+"/...@latest"), append(patterns, m.path+"/...")
		}
	}
	if _, err := r.output(consumer, environment, "go", get...); err != nil {
		return err
	}
	listed, err := r.output(consumer, environment, "go", append([]string{"list", "-f", "{{.Name}} {{.ImportPath}} {{.Module.Version}}"}, patterns...)...)
	if err != nil {
		return err
	}
	var program strings.Builder
	program.WriteString("package main\n\nimport (\n")
	var imported []string
	for line := range strings.Lines(listed) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[2] != r.version {
			return fmt.Errorf("not of this rehearsal: %s", line)
		}
		if fields[0] != "main" && !strings.Contains(fields[1], "/internal/") {
			fmt.Fprintf(&program, "\t_ %q\n", fields[1])
			imported = append(imported, fields[1])
		}
	}
	program.WriteString(")\n\nfunc main() { println(\"used\") }\n")
	if len(imported) == 0 {
		return errors.New("no package can be imported")
	}
	if err := os.WriteFile(filepath.Join(consumer, "main.go"), []byte(program.String()), 0o644); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"run", "."},
		append([]string{"test", "-run", "^Example", "-vet=off"}, imported...),
	} {
		if _, err := r.output(consumer, environment, "go", args...); err != nil {
			return err
		}
	}
	fmt.Printf("  %d modules, %d packages imported\n", len(patterns), len(imported))
	return nil
}

// install installs and runs the commands.
func (r *rehearsal) install(cache string) error {
	bin := filepath.Join(r.scratch, "bin")
	environment := r.environment(cache, "GOBIN="+bin)
	installed := 0
	for _, m := range r.modules {
		if !strings.HasPrefix(m.folder, "cmd/") {
			continue
		}
		if _, err := r.output(r.scratch, environment, "go", "install", m.path+"@latest"); err != nil {
			return err
		}
		said, err := r.output(r.scratch, os.Environ(), filepath.Join(bin, path.Base(m.path)), "version")
		if err != nil {
			return err
		}
		if !strings.Contains(said, r.version) {
			return fmt.Errorf("%s is of another version: %s", m.path, said)
		}
		fmt.Printf("  %s", said)
		installed++
	}
	if installed == 0 {
		return errors.New("there is no command")
	}
	return nil
}

// check checks the modules that cannot be checked in the repository.
func (r *rehearsal) check(cache string, checks []string) error {
	for _, m := range r.modules {
		if !m.bare {
			continue
		}
		fmt.Printf("  %s\n", m.path)
		copied := filepath.Join(r.scratch, "checked") // the whole repository, since tests look at files of other modules
		folder := filepath.Join(copied, filepath.FromSlash(m.folder))
		if err := r.copyTo(r.files, m, "", copied); err != nil {
			return err
		}
		environment := r.environment(cache)
		if _, err := r.output(folder, environment, "go", "mod", "tidy"); err != nil {
			return err
		}
		for _, name := range []string{"go.mod", "go.sum"} {
			want, err := os.ReadFile(filepath.Join(r.root, m.folder, name))
			if err != nil {
				return err
			}
			got, err := os.ReadFile(filepath.Join(folder, name))
			if err != nil {
				return err
			}
			if a, b := r.withoutSisters(want), r.withoutSisters(got); a != b {
				return fmt.Errorf("%s/%s is not tidy; go mod tidy makes of it, apart from the modules of this repository:\n%s", m.folder, name, b)
			}
		}
		for _, check := range checks {
			fields := strings.Fields(check)
			if _, err := r.output(folder, environment, fields[0], fields[1:]...); err != nil {
				return err
			}
		}
	}
	return nil
}

// withoutSisters returns the lines that are about other modules.
func (r *rehearsal) withoutSisters(content []byte) string {
	var kept strings.Builder
	for line := range strings.Lines(string(content)) {
		if fields := strings.Fields(line); len(fields) == 0 || !r.sister(fields[0]) {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// forget removes the version from the module cache.
func (r *rehearsal) forget(cache string) error {
	var all error
	for _, m := range r.modules {
		escaped, err := modulepath.EscapePath(m.path)
		if err != nil {
			return err
		}
		folder := filepath.Join(cache, filepath.FromSlash(escaped)+"@"+r.version)
		_ = filepath.WalkDir(folder, func(path string, entry os.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				_ = os.Chmod(path, 0o755) // the cache is read-only
			}
			return nil
		})
		all = errors.Join(all, os.RemoveAll(folder))
		files, err := filepath.Glob(filepath.Join(cache, "cache", "download", filepath.FromSlash(escaped), "@v", r.version+".*"))
		if err != nil {
			return err
		}
		for _, file := range files {
			all = errors.Join(all, os.Remove(file))
		}
	}
	return all
}

// output runs a command and returns its standard output.
func (r *rehearsal) output(folder string, environment []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(r.ctx, name, args...)
	cmd.Dir, cmd.Env = folder, environment
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}
