package cli

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"shiplog/config"
	"shiplog/failedlog"
	"shiplog/internal/daemon"
	"shiplog/internal/fsx"
)

var osFS = fsx.OS

func failedDir(cfg *config.Config) string { return daemon.FailedDir(cfg) }

func (a *app) failedCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "failed",
		Short: "Look at the failure log: list, show, export or drop what could not be delivered",
		Example: `  shiplog failed ls -c config.yaml
  shiplog failed show -c config.yaml --limit 10 | jq .error
  shiplog failed export -c config.yaml --source access > lines.jsonl
  shiplog failed drop -c config.yaml --class too_large --yes`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.failedLs(), a.failedShow(), a.failedExport(), a.failedDrop())
	return cmd
}

// prepareFilter loads the configuration and checks the filter's flags.
func (a *app) prepareFilter(flags *filterFlags) (*config.Config, failedlog.Filter, error) {
	cfg, err := a.loadConfig()
	if err != nil {
		return nil, failedlog.Filter{}, err
	}
	filter, err := flags.filter(cfg, time.Now())
	return cfg, filter, err
}

func (a *app) failedLs() *cobra.Command {
	var flags filterFlags
	cmd := a.withConfig(&cobra.Command{
		Use:     "ls",
		Short:   "List the segments of the failure log: how many lines, how old, and why they failed",
		Example: "  shiplog failed ls -c config.yaml --since 24h",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, filter, err := a.prepareFilter(&flags)
			if err != nil {
				return err
			}
			list, err := failedlog.Summarize(osFS, failedDir(cfg), filter)
			if err != nil {
				return err
			}
			return a.listSegments(list)
		},
	})
	flags.add(cmd.Flags())
	return cmd
}

func (a *app) listSegments(list []failedlog.Summary) error {
	var total int64
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for i := range list {
		s := &list[i]
		if s.Records == 0 && s.Bad == 0 {
			continue
		}
		if total == 0 {
			_, _ = fmt.Fprintln(w, "SOURCE\tSEGMENT\tSTATE\tLINES\tBYTES\tOLDEST\tNEWEST\tTOPIC\tWHY")
		}
		total += s.Records + s.Bad
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\n", s.Segment.Source(), s.Segment.Name(), s.Segment.State,
			s.Records, s.Payload, stamp(s.Oldest), stamp(s.Newest), strings.Join(slices.Sorted(maps.Keys(s.Topics)), ","), why(s))
	}
	if total == 0 {
		_, err := fmt.Fprintln(a.stdout, "the failure log is empty")
		return err
	}
	return w.Flush()
}

// why lists the error classes, the most frequent first.
func why(s *failedlog.Summary) string {
	classes := slices.SortedFunc(maps.Keys(s.Classes), func(x, y string) int {
		return cmp.Or(cmp.Compare(s.Classes[y], s.Classes[x]), cmp.Compare(x, y))
	})
	var parts []string
	for _, c := range classes {
		parts = append(parts, fmt.Sprintf("%s %d", c, s.Classes[c]))
	}
	if s.NotReplayable > 0 {
		parts = append(parts, fmt.Sprintf("(%d not replayable)", s.NotReplayable))
	}
	if s.Bad > 0 {
		parts = append(parts, fmt.Sprintf("(%d lines are no records)", s.Bad))
	}
	return strings.Join(parts, ", ")
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}

func (a *app) failedShow() *cobra.Command {
	var flags filterFlags
	var limit int64
	cmd := a.withConfig(&cobra.Command{
		Use:   "show",
		Short: "Print records as they stand in the failure log: one JSON object a line",
		Example: `  shiplog failed show -c config.yaml --limit 1 | jq .
  shiplog failed show -c config.yaml | jq -r '[.time, .file, .offset, .error.class] | @tsv'`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if limit < 0 {
				return usageError("--limit %d: want 0 (all) or more records", limit)
			}
			return a.export(&flags, true, limit)
		},
	})
	flags.add(cmd.Flags())
	cmd.Flags().Int64Var(&limit, "limit", 20, "at most so many records; 0 is all")
	return cmd
}

func (a *app) failedExport() *cobra.Command {
	var flags filterFlags
	var full bool
	cmd := a.withConfig(&cobra.Command{
		Use:   "export",
		Short: "Print the lines themselves, byte for byte as they would be sent",
		Example: `  shiplog failed export -c config.yaml --source access > lines.jsonl
  shiplog failed export -c config.yaml --full > records.jsonl`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.export(&flags, full, 0) },
	})
	flags.add(cmd.Flags())
	cmd.Flags().BoolVar(&full, "full", false, "whole records instead of the lines alone")
	return cmd
}

func (a *app) export(flags *filterFlags, full bool, limit int64) error {
	cfg, filter, err := a.prepareFilter(flags)
	if err != nil {
		return err
	}
	stats, err := failedlog.Export(a.stdout, failedlog.ExportOptions{
		FS: osFS, Dir: failedDir(cfg), Filter: filter, Full: full, Limit: limit,
		OnBad: func(b failedlog.BadLine) { _, _ = fmt.Fprintf(a.stderr, "shiplog: %v\n", b) },
	})
	if stats.NotReplayable > 0 {
		_, _ = fmt.Fprintf(a.stderr, "shiplog: %d lines left out: of lines that were too long only the start is kept; --full shows it\n", stats.NotReplayable)
	}
	return err
}

func (a *app) failedDrop() *cobra.Command {
	var flags filterFlags
	var yes, bad bool
	cmd := a.withConfig(&cobra.Command{
		Use:   "drop",
		Short: "Remove records from the failure log for ever",
		Long: `Remove records from the failure log for ever. Without --yes it only says what it would remove.
Segments that a replay is working on, and the one that the daemon writes, are left alone.`,
		Example: `  shiplog failed drop -c config.yaml --until 720h          # says what would go
  shiplog failed drop -c config.yaml --until 720h --yes
  shiplog failed drop -c config.yaml --source access --bad --yes`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, filter, err := a.prepareFilter(&flags)
			if err != nil {
				return err
			}
			return a.drop(cfg, failedlog.DropOptions{Dir: failedDir(cfg), Filter: filter, DryRun: !yes, Bad: bad, LockWait: lockWait(cfg)})
		},
	})
	flags.add(cmd.Flags())
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	cmd.Flags().BoolVar(&bad, "bad", false, "also lines that a replay kept aside because they are no records")
	return cmd
}

func (a *app) drop(cfg *config.Config, opt failedlog.DropOptions) (err error) {
	if !opt.DryRun {
		root, refused := a.openDataDir(cfg)
		if refused != nil {
			return refused
		}
		defer func() { err = errors.Join(err, root.Close()) }()
		opt.FS = root
	}
	opt.OnBad = func(b failedlog.BadLine) { _, _ = fmt.Fprintf(a.stderr, "shiplog: %v\n", b) }
	stats, err := failedlog.Drop(opt)
	verb := "dropped"
	if opt.DryRun {
		verb = "would drop"
	}
	_, _ = fmt.Fprintf(a.stdout, "%s %d lines", verb, stats.Records)
	if stats.BadLines > 0 {
		_, _ = fmt.Fprintf(a.stdout, " and %d lines that are no records", stats.BadLines)
	}
	_, _ = fmt.Fprintf(a.stdout, "; %d stay\n", stats.Kept)
	if stats.OpenSegments > 0 {
		_, _ = fmt.Fprintf(a.stdout, "%s left out: the daemon writes to it\n", plural(stats.OpenSegments, "open segment"))
	}
	if opt.DryRun && stats.Records+stats.BadLines > 0 && err == nil {
		_, _ = fmt.Fprintln(a.stdout, "nothing was removed; add --yes to do it")
	}
	return err
}
