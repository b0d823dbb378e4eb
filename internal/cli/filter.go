package cli

import (
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"shiplog/config"
	"shiplog/failedlog"
)

// filterFlags pick records of the failure log.
type filterFlags struct {
	source, since, until string
	classes              []string
}

func (f *filterFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.source, "source", "", "only this source")
	flags.StringVar(&f.since, "since", "", "only lines that failed at that time or later: 2026-01-02T15:04:05Z, or an age such as 2h")
	flags.StringVar(&f.until, "until", "", "only lines that failed before that time: as --since")
	flags.StringSliceVar(&f.classes, "class", nil, "only these error classes, such as retriable or too_large")
}

// filter checks the flags. A source that is no longer configured may still have a failure log.
func (f *filterFlags) filter(cfg *config.Config, now time.Time) (failedlog.Filter, error) {
	out := failedlog.Filter{Source: f.source, Classes: f.classes}
	if f.source != "" && !knownSource(cfg, f.source) {
		segments, err := failedlog.List(osFS, failedDir(cfg), f.source)
		if err != nil || len(segments) == 0 {
			return out, usageError("--source %s: no such source in %s, and no failure log of that name; there are: %s",
				f.source, cfg.Path, strings.Join(sourceIDs(cfg), ", "))
		}
	}
	var err error
	if out.Since, err = parseTime("--since", f.since, now); err != nil {
		return out, err
	}
	if out.Until, err = parseTime("--until", f.until, now); err != nil {
		return out, err
	}
	if !out.Since.IsZero() && !out.Until.IsZero() && !out.Since.Before(out.Until) {
		return out, usageError("--since %s is not before --until %s", f.since, f.until)
	}
	return out, nil
}

func parseTime(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if age, err := time.ParseDuration(text); err == nil && age >= 0 {
		return now.Add(-age), nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateTime, time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usageError("%s %q: want a time such as 2026-01-02T15:04:05Z, a date, or an age such as 90m", flag, text)
}

func sourceIDs(cfg *config.Config) []string {
	ids := make([]string, len(cfg.Sources))
	for i := range cfg.Sources {
		ids[i] = cfg.Sources[i].ID
	}
	return ids
}

func knownSource(cfg *config.Config, id string) bool { return slices.Contains(sourceIDs(cfg), id) }

// checkSource refuses a source that the configuration does not have.
func checkSource(cfg *config.Config, id string) error {
	if knownSource(cfg, id) {
		return nil
	}
	return usageError("--source %s: no such source in %s; there are: %s", id, cfg.Path, strings.Join(sourceIDs(cfg), ", "))
}
