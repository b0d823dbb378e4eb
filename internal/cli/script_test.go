package cli

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"shiplog": func() { os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

// TestScripts runs the commands as a person at a shell does. Each script has a broker of its own, at
// $BROKER, with the topics t and u of one partition each.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: false,
		Setup:               setupBroker,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":   cmdExits,
			"private": cmdPrivate,
			"broker":  cmdBroker,
			"topic":   cmdTopic,
		},
	})
}

// fakeBroker is a kfake cluster whose produce requests can be made to fail.
type fakeBroker struct {
	cluster *kfake.Cluster
	fail    atomic.Pointer[kerr.Error]
}

type brokerKey struct{}

func setupBroker(env *testscript.Env) error {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(0), kfake.SeedTopics(1, "t", "u"))
	if err != nil {
		return err
	}
	env.Defer(cluster.Close)
	b := &fakeBroker{cluster: cluster}
	cluster.ControlKey(int16(kmsg.Produce), b.produce)
	env.Values[brokerKey{}] = b
	env.Setenv("BROKER", cluster.ListenAddrs()[0])
	return nil
}

func (b *fakeBroker) produce(r kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	b.cluster.KeepControl()
	fail := b.fail.Load()
	if fail == nil {
		return nil, nil, false
	}
	req := r.(*kmsg.ProduceRequest)
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	for _, t := range req.Topics {
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			rp := kmsg.NewProduceResponseTopicPartition()
			rp.Partition, rp.ErrorCode, rp.BaseOffset = p.Partition, fail.Code, -1
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp, nil, true
}

// cmdPrivate wants every folder and file below one to be for its owner alone: private DIR
func cmdPrivate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: private DIR")
	}
	ts.Check(filepath.WalkDir(ts.MkAbs(args[0]), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if fi.IsDir() {
			want = fs.ModeDir | 0o700
		}
		if fi.Mode() != want {
			ts.Fatalf("%s has mode %v, want %v", path, fi.Mode(), want)
		}
		return nil
	}))
}

// cmdExits runs a command and wants exactly this exit code: exits 78 shiplog validate -c bad.yaml
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARG ...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := err.(interface{ ExitCode() int })
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// cmdBroker makes produce requests fail with an error of the protocol, or work again: broker
// MESSAGE_TOO_LARGE, broker ok
func cmdBroker(ts *testscript.TestScript, neg bool, args []string) {
	b := ts.Value(brokerKey{}).(*fakeBroker)
	if neg || len(args) != 1 {
		ts.Fatalf("usage: broker ok|ERROR")
	}
	if args[0] == "ok" {
		b.fail.Store(nil)
		return
	}
	for code := int16(1); code < 200; code++ {
		if e, ok := kerr.ErrorForCode(code).(*kerr.Error); ok && e.Message == args[0] {
			b.fail.Store(e)
			return
		}
	}
	ts.Fatalf("no error %s in the protocol", args[0])
}

// cmdTopic compares the values in a topic with a file: topic t want.txt
func cmdTopic(ts *testscript.TestScript, neg bool, args []string) {
	b := ts.Value(brokerKey{}).(*fakeBroker)
	if neg || len(args) != 2 {
		ts.Fatalf("usage: topic TOPIC FILE")
	}
	want := strings.Split(strings.TrimSuffix(ts.ReadFile(args[1]), "\n"), "\n")
	got, err := b.read(args[0], len(want))
	ts.Check(err)
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		ts.Fatalf("topic %s holds:\n%s\nwant:\n%s", args[0], g, w)
	}
}

// read gives all values of the topic; it waits for at least n of them.
func (b *fakeBroker) read(topic string, n int) ([]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.cluster.ListenAddrs()...), kgo.ConsumeTopics(topic))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var values []string
	for len(values) < n {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return values, fmt.Errorf("after %d of %d values: %w", len(values), n, err)
		}
		fetches.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
	return values, nil
}
