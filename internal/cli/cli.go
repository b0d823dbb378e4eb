// Package cli holds shiplog's commands, one file a command. It turns arguments and signals into
// calls of the other rooms and their errors into messages and exit codes; it holds no logic of
// delivery itself.
package cli

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"shiplog/config"
	"shiplog/internal/daemon"
	"shiplog/internal/fsx"
)

// Exit codes; 64, 75 and 78 are those of BSD's sysexits.h.
const (
	ExitOK         = 0
	ExitFailure    = 1
	ExitUsage      = 64 // EX_USAGE: the command line is wrong
	ExitIncomplete = 75 // EX_TEMPFAIL: stopped before everything was drained; start again to go on
	ExitConfig     = 78 // EX_CONFIG: the configuration is wrong
)

// DefaultConfigPath is where the configuration is looked for last.
const DefaultConfigPath = "/etc/shiplog/config.yaml"

// exitError carries an exit code to Main. A nil err exits without a message.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usageError(format string, args ...any) error {
	return &exitError{ExitUsage, fmt.Errorf(format, args...)}
}

// app is what the commands share.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	configPath     string
	begun          bool // the command line is right, and its command runs
}

// Main runs the command line and returns the exit code. Errors are printed here and nowhere else.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteC()
	return a.report(cmd, err)
}

// report prints err as a person should read it, and gives the exit code.
func (a *app) report(cmd *cobra.Command, err error) int {
	if err == nil {
		return ExitOK
	}
	var exit *exitError
	if errors.As(err, &exit) {
		if exit.err != nil {
			_, _ = fmt.Fprintf(a.stderr, "shiplog: %v\n", exit.err)
		}
		if exit.code == ExitUsage {
			a.hint(cmd)
		}
		return exit.code
	}
	_, _ = fmt.Fprintf(a.stderr, "shiplog: %v\n", err)
	if unsafe := (*fsx.UnsafeError)(nil); errors.As(err, &unsafe) {
		return ExitConfig
	}
	if !a.begun { // cobra did not like the command line
		a.hint(cmd)
		return ExitUsage
	}
	return ExitFailure
}

func (a *app) hint(cmd *cobra.Command) {
	_, _ = fmt.Fprintf(a.stderr, "Run '%s --help' for usage.\n", cmd.CommandPath())
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "shiplog",
		Short: "Ship JSON-lines log files to Apache Kafka and account for every line",
		Long: `shiplog tails JSON-lines log files and delivers every line to Apache Kafka.

Each source in the configuration names its delivery mode, which is a contract:
  sync      order and certainty: one request in flight, retried until acknowledged
  async     throughput: fire and forget, a small loss is accepted and counted
  callback  certainty without order: what fails goes to a local failure log,
            and 'shiplog replay' sends it again

Exit codes: 0 done, 1 failure, 64 wrong usage, 75 not everything drained, 78 wrong configuration.`,
		Example: `  shiplog validate -c config.yaml      # is the configuration right?
  shiplog run -c config.yaml           # ship until SIGTERM
  shiplog run -c config.yaml --once    # ship what is there, then exit
  shiplog failed ls -c config.yaml     # what could not be delivered, and why
  shiplog replay -c config.yaml        # send it again
  shiplog audit -c config.yaml --topic logs  # is every line there?`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },

		PersistentPreRun: func(*cobra.Command, []string) { a.begun = true },
	}
	root.CompletionOptions.HiddenDefaultCmd = false
	root.AddCommand(a.runCommand(), a.validateCommand(), a.printConfigCommand(), a.replayCommand(), a.auditCommand(),
		a.failedCommand(), a.checkpointCommand(), a.schemaCommand(), a.versionCommand())
	return root
}

// withConfig gives a command the --config flag.
func (a *app) withConfig(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVarP(&a.configPath, "config", "c", "",
		"configuration file (default $SHIPLOG_CONFIG, then "+DefaultConfigPath+")")
	return cmd
}

// loadConfig finds and loads the configuration.
func (a *app) loadConfig() (*config.Config, error) {
	path := a.configPath
	if path == "" {
		path = os.Getenv("SHIPLOG_CONFIG")
	}
	if path == "" {
		path = DefaultConfigPath
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return nil, &exitError{ExitConfig, fmt.Errorf(
				"no configuration: %s does not exist; name one with --config FILE or $SHIPLOG_CONFIG", path)}
		}
	}
	cfg, err := config.Load(path)
	if err != nil {
		return nil, &exitError{ExitConfig, err}
	}
	return cfg, nil
}

// openDataDir opens data_dir for a command that changes what is in it.
func (a *app) openDataDir(cfg *config.Config) (*fsx.Root, error) {
	return daemon.OpenDataDir(cfg, func(s string) { _, _ = fmt.Fprintf(a.stderr, "warning: %s\n", s) })
}
