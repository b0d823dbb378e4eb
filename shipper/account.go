package shipper

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"shiplog/internal/batch"
)

// Account is what became of every line of a source that was read, as it stood at one instant:
//
//	Read = Delivered + Sent + FailureLogged + all of Dropped + all of Skipped + InFlight
type Account struct {
	Source string `json:"source"`
	Mode   string `json:"mode"`

	Read          int64            `json:"read"`
	Delivered     int64            `json:"delivered"`      // acknowledged by Kafka
	Sent          int64            `json:"sent"`           // written to a socket; async only
	FailureLogged int64            `json:"failure_logged"` // on disk in the failure log
	Dropped       map[string]int64 `json:"dropped"`        // given up, by reason
	Skipped       map[string]int64 `json:"skipped"`        // not worth shipping, by reason
	// InFlight is counted from the blocks that are out, never derived from the other terms.
	InFlight int64 `json:"in_flight"`

	// SentUnconfirmed is how many of Sent were not known to be replicated when their connection broke, or
	// their broker was deposed: no more than these can be lost.
	SentUnconfirmed int64 `json:"sent_unconfirmed"`
	// PossibleRepeats is how many of Delivered may stand in the topic more than once.
	PossibleRepeats int64 `json:"possible_repeats"`
}

// Missing is how many lines were read and stand nowhere in the account: always 0, unless shiplog is
// wrong.
func (a Account) Missing() int64 {
	return a.Read - a.Delivered - a.Sent - a.FailureLogged - sum(a.Dropped) - sum(a.Skipped) - a.InFlight
}

func sum(m map[string]int64) int64 {
	var n int64
	for _, v := range m {
		n += v
	}
	return n
}

// String gives the account as one line of text.
func (a Account) String() string {
	return fmt.Sprintf("%s (%s): read %d = delivered %d + sent %d + failure_logged %d + dropped %s + skipped %s + in_flight %d",
		a.Source, a.Mode, a.Read, a.Delivered, a.Sent, a.FailureLogged, reasons(a.Dropped), reasons(a.Skipped), a.InFlight)
}

// reasons gives the sum, and what it is made of: 3 (empty 2, nul 1).
func reasons(m map[string]int64) string {
	if len(m) == 0 {
		return "0"
	}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s %d", k, m[k]))
	}
	return fmt.Sprintf("%d (%s)", sum(m), strings.Join(parts, ", "))
}

// MarshalLogObject lets an account stand in a log line under its own names.
func (a Account) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	enc.AddInt64("read", a.Read)
	enc.AddInt64("delivered", a.Delivered)
	enc.AddInt64("sent", a.Sent)
	enc.AddInt64("failure_logged", a.FailureLogged)
	zap.Any("dropped", a.Dropped).AddTo(enc)
	zap.Any("skipped", a.Skipped).AddTo(enc)
	enc.AddInt64("in_flight", a.InFlight)
	enc.AddInt64("sent_unconfirmed", a.SentUnconfirmed)
	enc.AddInt64("possible_repeats", a.PossibleRepeats)
	return nil
}

// An outcome is what settles a line.
type outcome uint8

const (
	delivered outcome = iota
	sent
	failureLogged
	dropped // with a reason
)

// Reasons for dropped that are no error class.
const (
	reasonInvalidJSON = "invalid_json"
	reasonOversize    = "oversize"
)

// account counts the lines of one source. One lock guards it together with the open lines of the
// blocks that are out, so that no reader ever sees a line twice or nowhere.
type account struct {
	source, mode string

	mu       sync.Mutex
	read     int64
	outcomes [dropped]int64
	dropped  map[string]int64
	skipped  [batch.NumSkips]int64
	repeats  int64
	out      []*block
}

// begin takes a block in: from now on its lines are in flight.
func (a *account) begin(blk *block) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range blk.b.Runs {
		r := &blk.b.Runs[i]
		a.read += r.LineCount()
		for why, n := range r.Skipped {
			a.skipped[why] += n
		}
		blk.open += int64(r.Last-r.First) + int64(len(r.Oversize))
	}
	a.out = append(a.out, blk)
}

// settle gives n lines of a block their outcome, and returns how many have none yet. reason is for
// dropped lines.
func (a *account) settle(blk *block, n int64, o outcome, reason string) int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n > blk.open {
		panic(fmt.Sprintf("shipper: %d lines settled where %d were open", n, blk.open))
	}
	blk.open -= n
	if o != dropped {
		a.outcomes[o] += n
		return blk.open
	}
	if a.dropped == nil {
		a.dropped = make(map[string]int64)
	}
	a.dropped[reason] += n
	return blk.open
}

// openOf is how many lines of a block have no outcome yet.
func (a *account) openOf(blk *block) int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return blk.open
}

// end lets a block go that has no open lines.
func (a *account) end(blk *block) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if i := slices.Index(a.out, blk); i >= 0 {
		a.out = slices.Delete(a.out, i, i+1)
	}
}

// mayRepeat counts lines that may stand in the topic twice.
func (a *account) mayRepeat(n int64) {
	a.mu.Lock()
	a.repeats += n
	a.mu.Unlock()
}

func (a *account) snapshot() Account {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := Account{
		Source: a.source, Mode: a.mode, Read: a.read,
		Delivered: a.outcomes[delivered], Sent: a.outcomes[sent], FailureLogged: a.outcomes[failureLogged],
		Dropped: maps.Clone(a.dropped), Skipped: make(map[string]int64), PossibleRepeats: a.repeats,
	}
	if s.Dropped == nil {
		s.Dropped = make(map[string]int64)
	}
	for why, n := range a.skipped {
		if n > 0 {
			s.Skipped[batch.Skip(why).String()] = n
		}
	}
	for _, blk := range a.out {
		s.InFlight += blk.open
	}
	return s
}
