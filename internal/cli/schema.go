package cli

import (
	"github.com/spf13/cobra"

	"shiplog/config"
)

func (a *app) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the configuration, for editors",
		Example: `  shiplog schema > shiplog.schema.json
  # then, as the first line of config.yaml:
  # yaml-language-server: $schema=shiplog.schema.json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			schema, err := config.Schema()
			if err != nil {
				return err
			}
			_, err = a.stdout.Write(schema)
			return err
		},
	}
}
