//go:build linux

package systest

import (
	"encoding/binary"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// replayBatch is how many records a replay sends at once, at most.
const replayBatch = 500

// autoReplayKills is less than killCount, since a life until the second replay takes two seconds.
func autoReplayKills() int { return max(1, killCount()/2) }

// TestKillDuringAutoReplay kills shiplog with SIGKILL at random moments after the broker has refused
// some requests, while auto_replay sends them again. No line is lost. What comes twice had an
// outcome (it arrived, or stands in the failure log) that the checkpoint on disk did not cover at a
// kill, or is of the one batch that a replay had out at a kill.
func TestKillDuringAutoReplay(t *testing.T) {
	t.Parallel()
	k := newReplayKiller(t, seed(t))
	for range autoReplayKills() {
		k.w.append(6*batchLines + k.rand.IntN(batchLines)) // no steady load: fresh lines go first, however slow the machine
		k.refuse(5)                                        // what is in flight at once: then shiplog pauses
		enough := k.replays() + 2 + k.rand.IntN(3)         // so that what is done must be known, and not only what is out
		k.p = run(t, k.place.config)
		until(t, "a replay", func() bool { return k.p.ended() || k.replays() >= enough })
		k.w.append(k.rand.IntN(batchLines))
		pass(time.Duration(k.rand.IntN(10)) * time.Millisecond)
		k.p.kill()
		k.afterKill()
	}
	k.refuse(0)
	k.w.append(10)
	k.p = run(t, k.place.config)
	until(t, "the failure log to be empty", func() bool {
		files, err := filepath.Glob(k.place.data + "/failed/app/*.jsonl")
		return k.p.ended() || err == nil && len(files) == 0
	})
	if code := k.p.stop(); code != 0 {
		t.Errorf("exit code %d after the last start, want 0", code)
	}
	k.p.account("app")
	k.w.check(k.w.file.Close())
	k.reckon()
}

// replayKiller is the scene of TestKillDuringAutoReplay.
type replayKiller struct {
	t     *testing.T
	rand  *rand.Rand
	place *place
	b     *broker
	topic *topic
	w     *writer
	p     *process
	tally *tally
	bound int // how many repeats the kills so far allow

	// Guarded by the broker's lock.
	refused int // so many of the next requests with fresh lines are refused
	replay  int // requests of a replay
}

func newReplayKiller(t *testing.T, seed uint64) *replayKiller {
	k := &replayKiller{t: t, rand: rand.New(rand.NewPCG(seed, 0)), tally: newTally(t)}
	k.b = newBroker(t, 1, []string{"logs"})
	k.b.mu.Lock()
	k.b.refuse = k.answer
	k.b.mu.Unlock()
	k.topic = k.b.open("logs")
	k.place = newPlace(t, k.b.addrs(), `checkpoint_interval: 200ms
shutdown_quiet: 300ms
failure_log: {auto_replay: true}
sources:
  - {id: app, include: [%s/app.log], mode: callback, topic: logs, max_batch_lines: %d}
`, batchLines)
	k.w = newWriter(t, k.place.logPath(), 0, seed)
	return k
}

// refuse has the broker refuse the next requests with fresh lines.
func (k *replayKiller) refuse(requests int) {
	k.b.mu.Lock()
	defer k.b.mu.Unlock()
	k.refused = requests
}

func (k *replayKiller) replays() int {
	k.b.mu.Lock()
	defer k.b.mu.Unlock()
	return k.replay
}

// answer decides about a produce request, under the broker's lock. Only a replay has a producer id.
func (k *replayKiller) answer(req *kmsg.ProduceRequest) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	if int64(binary.BigEndian.Uint64(req.Topics[0].Partitions[0].Records[43:])) >= 0 {
		k.replay++
		return nil, nil, false
	}
	if k.refused == 0 {
		return nil, nil, false
	}
	k.refused--
	return refusal(req, kerr.NotEnoughReplicas), nil, true
}

// refusal answers every partition of a request with an error.
func refusal(req *kmsg.ProduceRequest, why *kerr.Error) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	for _, t := range req.Topics {
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			rp := kmsg.NewProduceResponseTopicPartition()
			rp.Partition, rp.ErrorCode, rp.BaseOffset = p.Partition, why.Code, -1
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

// afterKill counts what will be there once more because of this kill.
func (k *replayKiller) afterKill() {
	k.t.Helper()
	k.b.drained()
	arrived := k.tally.add(k.topic.next())
	at := k.place.checkpoint(k.t, "app")
	streams, written := k.w.state()
	again := map[int]bool{} // what has an outcome and will be read again
	for _, n := range arrived {
		if !at.covers(streams, n) {
			again[n] = true
		}
	}
	logged := map[int]bool{}
	for _, f := range k.place.failures(k.t, "app") {
		n, ok := number(f.payload(k.t))
		if !ok {
			k.t.Errorf("a record of the failure log is no line: %.200s", f.payload(k.t))
			continue
		}
		logged[n] = true
		if !at.covers(streams, n) {
			again[n] = true
		}
	}
	k.bound += len(again) + replayBatch
	for n := range written {
		if at.covers(streams, n) && !k.tally.arrived(n) && !logged[n] {
			k.t.Errorf("line %d is lost: the checkpoint covers it, but it neither arrived nor stands in the failure log", n)
			break
		}
	}
}

// reckon compares the topic with what was written, once everything is drained.
func (k *replayKiller) reckon() {
	k.tally.add(k.topic.next())
	missing, repeats := k.tally.missing(k.w.lines()), k.tally.repeats()
	k.t.Logf("%d lines, %d kills, %d requests of replays; lost %d; repeats %d, allowed %d",
		k.w.lines(), autoReplayKills(), k.replays(), len(missing), repeats, k.bound)
	if len(missing) > 0 {
		k.t.Errorf("lost %d lines: %s", len(missing), k.w.describe(missing))
	}
	if repeats > k.bound {
		k.t.Errorf("%d repeats, want at most %d", repeats, k.bound)
	}
	if k.tally.foreign > 0 {
		k.t.Errorf("%d records are no line that was written", k.tally.foreign)
	}
}
