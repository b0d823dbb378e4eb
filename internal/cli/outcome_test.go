package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"shiplog/config"
	"shiplog/failedlog"
	"shiplog/internal/daemon"
	"shiplog/shipper"
)

func TestHowARunEndedIsSaidInWordsAndInTheExitCode(t *testing.T) {
	disk := errors.New("no space left on device")
	left := []daemon.Remainder{{Source: "app", InFlight: 3, UnreadBytes: 40}}
	for _, tc := range []struct {
		name        string
		report      daemon.Report
		interrupted bool
		err         error
		code        int
		words       []string
	}{
		{name: "everything drained"},
		{name: "half a line waits for its newline", report: daemon.Report{Remainders: []daemon.Remainder{{Source: "app", UnreadBytes: 4}}}},
		{name: "cut short", report: daemon.Report{TimedOut: true, Remainders: left}, code: ExitIncomplete,
			words: []string{"shutdown_timeout (2s)", "app: 3 lines in flight and 40 bytes unread"}},
		{name: "cut short while files grew", report: daemon.Report{TimedOut: true}, code: ExitIncomplete, words: []string{"still being written"}},
		{name: "second signal, nothing left", interrupted: true, code: ExitIncomplete, words: []string{"nothing was left"}},
		{name: "unreadable file", report: daemon.Report{Remainders: []daemon.Remainder{{Source: "app", UnreadBytes: 40, Unreadable: 1}}},
			code: ExitIncomplete, words: []string{"1 file cannot be read", "40 bytes unread"}},
		{name: "halted", report: daemon.Report{Remainders: []daemon.Remainder{{Source: "app", Err: shipper.ErrHalted}}},
			code: ExitFailure, words: []string{"source halted"}},
		{name: "checkpoint not saved", report: daemon.Report{TimedOut: true, Remainders: left}, err: disk, code: ExitFailure,
			words: []string{"no space left", "app: 3 lines in flight"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var stderr bytes.Buffer
			a := &app{stderr: &stderr, begun: true}
			err := outcome(&config.Config{ShutdownTimeout: 2 * time.Second}, tc.report, tc.interrupted, tc.err)
			if code := a.report(a.root(), err); code != tc.code {
				t.Errorf("exit code %d, want %d", code, tc.code)
			}
			for _, w := range append(tc.words, "") {
				if !strings.Contains(stderr.String(), w) || strings.Contains(stderr.String(), "%!") {
					t.Errorf("%q is missing, or the text is broken, in: %s", w, stderr.String())
				}
			}
		})
	}
}

// EINVAL's text is "invalid argument", which pflag says of a flag, too.
func TestAnErrorOfTheSystemIsNoWrongUsage(t *testing.T) {
	var stderr bytes.Buffer
	a := &app{stderr: &stderr, begun: true}
	if code := a.report(a.root(), fmt.Errorf("sync segment: %w", syscall.EINVAL)); code != ExitFailure {
		t.Errorf("exit code %d, want %d", code, ExitFailure)
	}
}

func TestAReplayThatWasInterruptedHidesNoError(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	disk := errors.New("no space left on device")
	if err := replayOutcome(ctx, failedlog.Stats{}, errors.Join(disk, ctx.Err())); !errors.Is(err, disk) {
		t.Errorf("got %v", err)
	}
	if err := replayOutcome(ctx, failedlog.Stats{Delivered: 1}, nil); err != nil {
		t.Errorf("everything was through before the signal: %v", err)
	}
}
