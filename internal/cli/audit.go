package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"shiplog/config"
	"shiplog/internal/audit"
	"shiplog/internal/daemon"
	"shiplog/internal/kafka"
	"shiplog/internal/provenance"
)

// Exit codes of audit, beside those of all commands.
const (
	ExitGaps       = 1
	ExitDuplicates = 2
	// ExitNoAnswer is for an audit that could not be made: it must not look like one that found gaps.
	ExitNoAnswer = 3
)

type auditFlags struct {
	topic, source, from, until, files, failureLog string
	json                                          bool
}

func (a *app) auditCommand() *cobra.Command {
	var flags auditFlags
	cmd := a.withConfig(&cobra.Command{
		Use:   "audit",
		Short: "Prove from a topic that no line is missing: gaps, duplicates and order, file by file",
		Long: `Read a topic and say for each log file what of it stands there: what is covered, where it ends, what is
missing, what is there more than once and what is out of order. It goes by the provenance headers that shiplog
writes (provenance: batch or record), reads each record batch once and writes nothing.

With --files it also says which lines of the files on disk the topic does not hold, and with --failure-log it counts
lines in a failure log as accounted for. What cannot be known from a topic is said at the end.

Exit codes: 0 complete, 1 gaps, 2 duplicates only, 3 the audit could not be made, or no record carries a header,
64 wrong usage, 78 wrong configuration. Order violations are reported and change no exit code: callback keeps no order.`,
		Example: `  shiplog audit -c config.yaml --topic logs
  shiplog audit -c config.yaml --source access                       # the topic is the source's own
  shiplog audit -c config.yaml --topic logs --files /var/log/app     # or a pattern: '/var/log/app/*.log*'
  shiplog audit -c config.yaml --topic logs --failure-log /var/lib/shiplog
  shiplog audit -c config.yaml --topic logs --from 24h --json | jq .files`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.audit(cmd.Context(), flags) },
	})
	f := cmd.Flags()
	f.StringVar(&flags.topic, "topic", "", "the topic to read; default: that of --source")
	f.StringVar(&flags.source, "source", "", "only lines of this source")
	f.StringVar(&flags.from, "from", "", "only records of that time or later: 2026-01-02T15:04:05Z, or an age such as 2h")
	f.StringVar(&flags.until, "until", "", "only records before that time: as --from")
	f.StringVar(&flags.files, "files", "", "compare with the files below this folder, or that match this pattern")
	f.StringVar(&flags.failureLog, "failure-log", "", "count the lines in this failure log as accounted for: data_dir, or a folder of data_dir/failed")
	f.BoolVar(&flags.json, "json", false, "print the whole report as JSON")
	return cmd
}

func (a *app) audit(ctx context.Context, flags auditFlags) error {
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	src, err := flags.pick(cfg)
	if err != nil {
		return err
	}
	now := time.Now()
	from, err := parseTime("--from", flags.from, now)
	if err != nil {
		return err
	}
	until, err := parseTime("--until", flags.until, now)
	if err != nil {
		return err
	}
	if !from.IsZero() && !until.IsZero() && !from.Before(until) {
		return usageError("--from %s is not before --until %s", flags.from, flags.until)
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	report, err := a.runAudit(ctx, &src, flags, from, until)
	if err != nil {
		return &exitError{ExitNoAnswer, fmt.Errorf("audit: %w", err)}
	}
	if flags.json {
		enc := json.NewEncoder(a.stdout)
		enc.SetIndent("", "  ")
		err = enc.Encode(report)
	} else {
		err = report.Print(a.stdout)
	}
	return errors.Join(err, auditOutcome(report))
}

// pick finds out which cluster and topic are meant. A source that is no longer configured may still
// have lines in a topic.
func (f *auditFlags) pick(cfg *config.Config) (config.Source, error) {
	src := config.Source{Kafka: cfg.Kafka, Topic: f.topic}
	for _, s := range cfg.Sources {
		if f.source == s.ID || f.source == "" && f.topic == s.Topic {
			src = s
			break
		}
	}
	if f.topic != "" {
		src.Topic = f.topic
	}
	if src.Topic == "" {
		if f.source != "" {
			return src, checkSource(cfg, f.source)
		}
		return src, usageError("which topic? name it with --topic, or name a source with --source")
	}
	return src, nil
}

func (a *app) runAudit(ctx context.Context, src *config.Source, flags auditFlags, from, until time.Time) (*audit.Report, error) {
	var files []audit.DiskFile
	if flags.files != "" {
		var err error
		if files, err = audit.FindFiles(flags.files); err != nil { // before the topic's end: see there
			return nil, err
		}
	}
	topic, err := kafka.NewAuditor(daemon.KafkaConfig(src, nil))
	if err != nil {
		return nil, err
	}
	defer topic.Close()
	bounds, err := topic.Bounds(ctx, from, until)
	if err != nil {
		return nil, err
	}
	au := audit.New(audit.Options{Topic: src.Topic, Source: flags.source, Windowed: flags.from != "" || flags.until != "",
		StartAtEnd: src.StartAt == config.StartEnd}, bounds)
	show := a.newAuditBar(bounds)
	err = topic.Audit(ctx, bounds, provenance.Key, func(b *kafka.AuditBatch) error {
		show.add(b)
		return au.Add(b)
	})
	show.end()
	if err == nil && flags.failureLog != "" {
		err = au.ReadFailureLog(flags.failureLog)
	}
	if err == nil && flags.files != "" {
		err = au.Compare(files)
	}
	if err != nil {
		return nil, err
	}
	return au.Report(), nil
}

func auditOutcome(r *audit.Report) error {
	switch r.Verdict {
	case audit.VerdictGaps:
		return &exitError{ExitGaps, nil}
	case audit.VerdictDuplicates:
		return &exitError{ExitDuplicates, nil}
	case audit.VerdictNothing:
		return &exitError{ExitNoAnswer, fmt.Errorf("audit: no record in what was read of topic %s says where it came from: nothing is proved", r.Topic)}
	}
	return nil
}

// auditBar shows how much of the topic was read, on a terminal.
type auditBar struct {
	bar  *progressbar.ProgressBar
	done int64
}

// newAuditBar draws on stderr: the report goes to stdout, and may go into a file.
func (a *app) newAuditBar(bounds []kafka.Bound) *auditBar {
	if !isTerminal(a.stderr) {
		return &auditBar{}
	}
	var total int64
	for _, b := range bounds {
		total += b.Until - b.From
	}
	return &auditBar{bar: progressbar.NewOptions64(total, progressbar.OptionSetWriter(a.stderr), progressbar.OptionShowCount(),
		progressbar.OptionShowIts(), progressbar.OptionSetItsString("lines"), progressbar.OptionSetDescription("audit"),
		progressbar.OptionSetPredictTime(true), progressbar.OptionThrottle(50*time.Millisecond), progressbar.OptionClearOnFinish())}
}

func (p *auditBar) add(b *kafka.AuditBatch) {
	if p.bar == nil {
		return
	}
	p.done += int64(b.Span)
	_ = p.bar.Set64(min(p.done, p.bar.GetMax64())) // a bar that cannot be drawn must not end the audit
}

func (p *auditBar) end() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}
