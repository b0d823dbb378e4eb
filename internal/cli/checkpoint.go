package cli

import (
	"errors"
	"fmt"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"shiplog/checkpoint"
	"shiplog/config"
	"shiplog/internal/daemon"
	"shiplog/internal/fsx"
)

func (a *app) checkpointCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "checkpoint",
		Short: "Look at and change how far each file is settled",
		Example: `  shiplog checkpoint ls -c config.yaml
  shiplog checkpoint seek -c config.yaml --source access --file /var/log/nginx/access.log --to end
  shiplog checkpoint reset -c config.yaml --source access`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.checkpointLs(), a.checkpointReset(), a.checkpointSeek())
	return cmd
}

func (a *app) checkpointLs() *cobra.Command {
	return a.withConfig(&cobra.Command{
		Use:     "ls",
		Short:   "List the files that the checkpoint knows, and the offset up to which each is settled",
		Example: "  shiplog checkpoint ls -c config.yaml",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			list, err := checkpoint.List(osFS, daemon.CheckpointDir(cfg))
			if err != nil {
				return err
			}
			return a.listCheckpoints(cfg, list)
		},
	})
}

func (a *app) listCheckpoints(cfg *config.Config, list []checkpoint.Saved) error {
	var errs []error
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	rows := 0
	for _, s := range list {
		if s.Err != nil {
			errs = append(errs, fmt.Errorf("source %s: %s: %w", s.Source, s.File, s.Err))
			continue
		}
		name := s.Source
		if !knownSource(cfg, s.Source) {
			name += " (not in the configuration)"
		}
		for _, st := range s.States {
			if rows++; rows == 1 {
				_, _ = fmt.Fprintln(w, "SOURCE\tFILE\tSETTLED UP TO\tSTATE\tFILE ID\tSAVED")
			}
			state := "open"
			if st.Finished {
				state = "finished"
			}
			_, _ = fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\n", name, st.Path, st.Pos.Offset, state, st.ID, stamp(s.Time))
		}
	}
	if rows == 0 && len(errs) == 0 {
		_, err := fmt.Fprintln(a.stdout, "the checkpoint knows no files")
		return err
	}
	return errors.Join(append(errs, w.Flush())...)
}

// editCheckpoint loads the configuration and, but for a dry run, takes data_dir's lock, so that no
// running daemon overwrites the change.
func (a *app) editCheckpoint(source string, dryRun bool, edit func(*config.Config, fsx.FS) error) (err error) {
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	if source == "" {
		return usageError("--source is required; there are: %v", sourceIDs(cfg))
	}
	if dryRun {
		return edit(cfg, osFS)
	}
	root, err := a.openDataDir(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	lock, err := root.Lock(daemon.LockPath(cfg))
	if err != nil {
		return fmt.Errorf("the daemon must not run while its checkpoint is changed: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	return edit(cfg, root)
}

func (a *app) checkpointReset() *cobra.Command {
	var source, file string
	var dryRun bool
	cmd := a.withConfig(&cobra.Command{
		Use:   "reset",
		Short: "Forget how far a source, or one file of it, is settled",
		Long: `Forget how far a source, or one file of it, is settled. The next start treats those files as new:
start_at says where it begins; 'beginning' sends all of their lines again. The daemon must not run.`,
		Example: `  shiplog checkpoint reset -c config.yaml --source access --dry-run
  shiplog checkpoint reset -c config.yaml --source access --file /var/log/nginx/access.log`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return a.editCheckpoint(source, dryRun, func(cfg *config.Config, fsys fsx.FS) error {
				path, err := absolute(file)
				if err != nil {
					return err
				}
				gone, err := checkpoint.Reset(fsys, daemon.CheckpointDir(cfg), source, path, dryRun)
				for _, s := range gone {
					_, _ = fmt.Fprintf(a.stdout, "%s %s: it was settled up to offset %d\n", would(dryRun, "forgets", "would forget"), s.Path, s.Pos.Offset)
				}
				if err == nil {
					_, _ = fmt.Fprintf(a.stdout, "the next start begins with them where start_at says: %s\n", startAt(cfg, source))
				}
				return err
			})
		},
	})
	cmd.Flags().StringVar(&source, "source", "", "the source (required)")
	cmd.Flags().StringVar(&file, "file", "", "only this file and its rotated generations")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would happen")
	return cmd
}

func would(dryRun bool, does, would string) string {
	if dryRun {
		return would
	}
	return does
}

// startAt says what the source will do with files that it does not know.
func startAt(cfg *config.Config, id string) string {
	for _, s := range cfg.Sources {
		if s.ID == id {
			if s.StartAt == config.StartEnd {
				return "end (lines that are there now are skipped)"
			}
			return "beginning (all of their lines are sent again)"
		}
	}
	return "the source is not in the configuration"
}

// absolute makes a path as the configuration has it; "" stays.
func absolute(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	return filepath.Abs(path)
}

func (a *app) checkpointSeek() *cobra.Command {
	var source, file, to string
	var dryRun bool
	cmd := a.withConfig(&cobra.Command{
		Use:   "seek",
		Short: "Set the position in one file, and say what will be repeated or skipped",
		Example: `  shiplog checkpoint seek -c config.yaml --source access --file /var/log/nginx/access.log --to end --dry-run
  shiplog checkpoint seek -c config.yaml --source access --file /var/log/nginx/access.log --to 1048576`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			target, err := checkpoint.ParseTarget(to)
			if err != nil {
				return usageError("--to: %w", err)
			}
			if file == "" {
				return usageError("--file is required")
			}
			return a.editCheckpoint(source, dryRun, func(cfg *config.Config, fsys fsx.FS) error {
				return a.seek(cfg, fsys, source, file, target, dryRun)
			})
		},
	})
	cmd.Flags().StringVar(&source, "source", "", "the source (required)")
	cmd.Flags().StringVar(&file, "file", "", "the log file (required)")
	cmd.Flags().StringVar(&to, "to", "", "beginning, end, or an offset in bytes; within a line it moves to the line's start (required)")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would happen")
	return cmd
}

func (a *app) seek(cfg *config.Config, fsys fsx.FS, source, file string, target checkpoint.Target, dryRun bool) error {
	if err := checkSource(cfg, source); err != nil {
		return err
	}
	path, err := absolute(file)
	if err != nil {
		return err
	}
	change, err := checkpoint.Seek(fsys, daemon.CheckpointDir(cfg), source, path, target, dryRun)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintln(a.stdout, change)
	for _, o := range change.Others {
		_, _ = fmt.Fprintf(a.stdout, "an older generation of it (file id %s) stays at offset %d\n", o.ID, o.Pos.Offset)
	}
	if dryRun {
		_, _ = fmt.Fprintln(a.stdout, "nothing was changed")
	}
	return nil
}
