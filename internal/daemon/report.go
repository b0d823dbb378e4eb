package daemon

import (
	"errors"

	"go.uber.org/zap"

	"shiplog/shipper"
	"shiplog/tailer"
)

// Remainder is what a source had still to do when it ended. It stays in the files, behind the
// checkpoint, and is read again by the next start.
type Remainder struct {
	Source      string
	InFlight    int64 // lines read, without an outcome
	UnreadBytes int64 // in the files, not yet read
	Unreadable  int   // files that cannot be opened
	Err         error // why the source ended early, nil when it was cut short by the time-out
}

// Report says how a run ended.
type Report struct {
	Accounts []shipper.Account
	// TimedOut says that shutdown_timeout cut the draining short.
	TimedOut bool
	// Remainders lists the sources that are not drained; empty when everything is.
	Remainders []Remainder
}

// Halted says whether a source ended by itself, on an error.
func (r *Report) Halted() bool {
	for _, rem := range r.Remainders {
		if rem.Err != nil {
			return true
		}
	}
	return false
}

// Unreadable counts the files that cannot be opened: whatever is in them was not shipped.
func (r *Report) Unreadable() (n int) {
	for _, rem := range r.Remainders {
		n += rem.Unreadable
	}
	return n
}

// report looks back on a run whose sources have all ended, and logs each account once.
func (d *Daemon) report(timedOut bool) Report {
	r := Report{Accounts: d.Accounts(), TimedOut: timedOut}
	for i, p := range d.pipes {
		a, stats := r.Accounts[i], p.tailer.Stats()
		d.log.Info("account", p.accountFields(a, stats)...)
		if a.InFlight > 0 || stats.UnreadBytes > 0 || stats.Unreadable > 0 || p.err != nil {
			r.Remainders = append(r.Remainders, Remainder{Source: p.id, InFlight: a.InFlight,
				UnreadBytes: stats.UnreadBytes, Unreadable: stats.Unreadable, Err: p.halt()})
		}
	}
	return r
}

// LogState logs the account of every source as it stands now, under the names of the account at the
// end, and what the process takes of the machine. The run goes on. Safe for concurrent use.
func (d *Daemon) LogState() {
	for _, p := range d.pipes {
		d.log.Info("account so far", p.accountFields(p.source.Account(), p.tailer.Stats())...)
	}
	d.log.Info("process", processFields()...)
}

// accountFields are an account and what stands beside it: what never became a line.
func (p *pipeline) accountFields(a shipper.Account, stats tailer.Stats) []zap.Field {
	return []zap.Field{zap.String("source", p.id), zap.Inline(a), zap.Int64("unread_bytes", stats.UnreadBytes),
		zap.Any("unread_bytes_lost", stats.UnreadBytesLost), zap.Int64("failure_log_evicted", p.evicted()), zap.Int64("auto_replayed", p.replayed.Load())}
}

// halt gives the error that ended the source by itself.
func (p *pipeline) halt() error {
	if errors.Is(p.err, shipper.ErrHalted) {
		return p.err
	}
	return nil
}

func (p *pipeline) evicted() int64 {
	if p.failures == nil {
		return 0
	}
	return p.failures.Evicted()
}
