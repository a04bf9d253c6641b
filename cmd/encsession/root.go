package main

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/encsession/encsession"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const help = `Encsession works on all sessions of a store of encrypted conversations.

The store is a URL, by --store or, if it holds a password, by the environment:

  ENCSESSION_STORE              sqlite:conversations.db
                                postgres://user:password@host:5432/database
                                mysql://user:password@host:3306/database
                                redis://user:password@host:6379/0, rediss:// for TLS
                                redis-cluster://user:password@host:6379,host:6379

Keys come from the environment alone:

  ENCSESSION_KEY                the current key, a Fernet key as keygen prints it
  ENCSESSION_PYTHON_KEY         or any string, as the Python SDK reads it
  ENCSESSION_OLDER_KEYS         older keys to read with, one a line
  ENCSESSION_PYTHON_OLDER_KEYS  or any strings, one a line

Each of these can be a file too, named in ENCSESSION_STORE_FILE, ENCSESSION_KEY_FILE and so on. A setting that
is given twice is an error. ENCSESSION_AUDIT_FILE does the same as --audit-file.

Commands that change data first say what they will do, and ask. Without a terminal they need --yes. With --dry-run they
change nothing. Every command can be interrupted, and run again.

Exit code: 0 all is well; 1 findings: items that no key opens, malformed items, or plaintext; 2 an error, and nothing
was changed; 3 partly done; 130 interrupted.`

// rootCommand returns the command with all of its subcommands.
func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "encsession",
		Short:         "Work on all sessions of a store of encrypted conversations",
		Long:          help,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 { // it may hold a password
				return errors.New("the first argument is no command: encsession help shows them")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(flagError)
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages", fmt.Sprintf(".FlagUsagesWrapped %d", width)))
	root.SetHelpCommand(&cobra.Command{
		Use:   "help [command]",
		Short: "Show the help of a command",
		RunE: func(_ *cobra.Command, args []string) error {
			found, _, err := root.Find(args)
			if err != nil || found == nil || found == root && len(args) > 0 {
				return errors.New("there is no such command: encsession help shows them")
			}
			found.InitDefaultHelpFlag()
			return found.Help()
		},
	})
	root.AddCommand(a.keygenCommand(), a.fingerprintCommand(), a.auditCommand(), a.sessionsCommand(), a.showCommand(),
		a.rekeyCommand(), a.sealCommand(), a.purgeCommand(), a.deleteCommand(), a.versionCommand())
	return root
}

// flagError names the wrong flag, without its value.
func flagError(cmd *cobra.Command, err error) error {
	hint := fmt.Sprintf("; %s --help shows the flags", cmd.CommandPath())
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		cause := invalid.Unwrap()
		if _, ok := errors.AsType[*strconv.NumError](cause); ok {
			cause = errors.New("want true or false")
		}
		return fmt.Errorf("--%s: %w", invalid.GetFlag().Name, cause)
	}
	if missing, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		return fmt.Errorf("--%s needs a value%s", missing.GetFlag().Name, hint)
	}
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok && unknown.GetSpecifiedShortnames() == "" && isFlagName(unknown.GetSpecifiedName()) {
		return fmt.Errorf("there is no flag --%s%s", unknown.GetSpecifiedName(), hint)
	}
	return errors.New("an argument that begins with - is no flag" + hint) // it may hold a password
}

// isFlagName reports whether somebody can have meant the name as a flag, and
// not as a secret.
func isFlagName(s string) bool {
	for _, r := range s {
		if r != '-' && (r < 'a' || r > 'z') {
			return false
		}
	}
	return len(s) < 24
}

// noArguments refuses arguments without showing them.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes no arguments, only flags", cmd.CommandPath())
	}
	return nil
}

// oneSession requires exactly one argument.
func oneSession(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%s takes one argument, the ID of a session", cmd.CommandPath())
	}
	return nil
}

// noCompletion completes arguments with nothing, because no argument is a file.
func noCompletion(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version", Args: noArguments, ValidArgsFunction: noCompletion,
		RunE: func(cmd *cobra.Command, _ []string) error {
			version := "unknown"
			if info, ok := debug.ReadBuildInfo(); ok {
				version = cmp.Or(info.Main.Version, version)
			}
			if a.flags.json {
				return writeLine(a.stdout, struct {
					Head
					Command string `json:"command"`
					Go      string `json:"go"`
				}{Head{lineVersion, "version"}, version, runtime.Version()})
			}
			_, err := fmt.Fprintf(a.stdout, "encsession %s %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
	cmd.Flags().BoolVar(&a.flags.json, "json", false, "print a JSON line")
	return cmd
}

func (a *app) fingerprintCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fingerprint",
		Short: "Print the fingerprints of the keys in the environment",
		Long: "Print the fingerprints of the keys in the environment, to compare them with those in the startup log of a service.\n" +
			`The fingerprint of a secret that is not a Fernet key is "raw", since a fingerprint would help to guess a weak one.`,
		Args: noArguments, ValidArgsFunction: noCompletion,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ring, err := a.neededKeys("fingerprint")
			if err != nil {
				return err
			}
			for _, key := range newCounts(ring).Keys {
				if a.flags.json {
					err = writeLine(a.stdout, struct {
						Head
						Role        string `json:"role"`
						Fingerprint string `json:"fingerprint"`
					}{Head{lineVersion, "key"}, key.Role, key.Fingerprint})
				} else {
					_, err = fmt.Fprintf(a.stdout, "%-7s  %s\n", key.Role, key.Fingerprint)
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&a.flags.json, "json", false, "print JSON lines")
	return cmd
}

func (a *app) keygenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keygen",
		Short: "Make a key",
		Long: "Make a new Fernet key and print it, and nothing else, on standard output; or with --out write it to a new file that\n" +
			"only its owner may read. The fingerprint goes to standard error.",
		Args: noArguments, ValidArgsFunction: noCompletion,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text := encsession.GenerateKey()
			key, err := encsession.ParseKey(text)
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("out") {
				err = writeNew(a.flags.out, text+"\n")
			} else {
				_, err = fmt.Fprintln(a.stdout, text)
			}
			if err == nil {
				fmt.Fprintln(a.stderr, "fingerprint:", key.Fingerprint())
			}
			return err
		},
	}
	cmd.Flags().StringVar(&a.flags.out, "out", "", "write the key to this new `FILE`")
	return cmd
}
