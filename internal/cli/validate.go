package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"shiplog/config"
)

func (a *app) validateCommand() *cobra.Command {
	return a.withConfig(&cobra.Command{
		Use:   "validate",
		Short: "Check the configuration and say all that is wrong with it",
		Long: `Check the configuration: syntax, keys, types, values, and options that a mode does not have.
Every mistake is printed with its file, line and column. No broker is contacted.

Exit codes: 0 right, 78 wrong.`,
		Example: "  shiplog validate -c config.yaml",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			a.warn(cfg)
			_, err = fmt.Fprintf(a.stdout, "%s: ok, %s\n", cfg.Path, plural(len(cfg.Sources), "source"))
			return err
		},
	})
}

// warn prints what is allowed in the configuration, but worth a look.
func (a *app) warn(cfg *config.Config) {
	for _, w := range cfg.Warnings() {
		_, _ = fmt.Fprintf(a.stderr, "warning: %s\n", w)
	}
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
