package shipper

import (
	"math/rand/v2"
	"time"
)

// backoff doubles a wait from first to most, with a quarter of jitter. Its zero value is ready.
type backoff struct {
	wait time.Duration
	at   time.Time // when the next try is due; zero: at once
}

// push sets the next try later than the last.
func (b *backoff) push(now time.Time, first, most time.Duration) {
	b.wait = min(max(2*b.wait, first), most)
	b.at = now.Add(b.wait - time.Duration(rand.Int64N(int64(b.wait)/4+1)))
}

// due says that the next try may be made.
func (b *backoff) due(now time.Time) bool { return !now.Before(b.at) }

func (b *backoff) reset() { *b = backoff{} }
