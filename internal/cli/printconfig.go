package cli

import (
	"io"

	"github.com/spf13/cobra"
)

func (a *app) printConfigCommand() *cobra.Command {
	return a.withConfig(&cobra.Command{
		Use:   "print-config",
		Short: "Print the effective configuration: defaults filled in, secrets redacted",
		Example: `  shiplog print-config -c config.yaml
  shiplog print-config -c config.yaml | diff - other.yaml`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			_, err = io.WriteString(a.stdout, cfg.Redacted())
			return err
		},
	})
}
