package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"shiplog/config"
	"shiplog/internal/fsx"
)

// OpenDataDir opens data_dir for writing in it, and makes it where it is not there. When another user could
// change what is in it, or in a folder of ours in it, the error is an *fsx.UnsafeError: whoever can
// write to the checkpoint decides what is sent again or skipped, and whoever can put a link there, which
// files shiplog writes over. What is allowed, but worth a look, goes to warn.
func OpenDataDir(cfg *config.Config, warn func(string)) (*fsx.Root, error) {
	root, warnings, err := fsx.OpenPrivate(cfg.DataDir)
	if err != nil {
		return nil, fmt.Errorf("data_dir: %w", err)
	}
	for _, w := range warnings {
		warn("data_dir: " + w)
	}
	if err := checkFolders(root, cfg); err != nil {
		return nil, errors.Join(fmt.Errorf("data_dir: %w", err), root.Close())
	}
	return root, nil
}

// checkFolders looks at all folders that shiplog uses in data_dir.
func checkFolders(root *fsx.Root, cfg *config.Config) error {
	errs := []error{root.CheckPrivate(CheckpointDir(cfg)), root.CheckPrivate(FailedDir(cfg))}
	if errs[1] != nil {
		return errors.Join(errs...)
	}
	entries, err := root.ReadDir(FailedDir(cfg))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	for _, e := range entries {
		if !e.Type().IsRegular() { // the lock of replay is one
			errs = append(errs, root.CheckPrivate(filepath.Join(FailedDir(cfg), e.Name())))
		}
	}
	return errors.Join(errs...)
}
