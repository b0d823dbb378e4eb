// Package systest holds the tests that drive shiplog as a user does: the real binary, started and
// killed as a process, on files that an application writes and rotates meanwhile, against a broker
// that is embedded in the test. What arrived is read back by a client that shares nothing with the
// one under test, and compared line by line with what was written.
//
// It holds no code but tests. What goes in: a seed, a writer, a configuration. What comes out: what
// was lost, what came twice, and why that much was allowed. Nothing in it looks into shiplog: what a
// test knows comes from the files, the topic, the checkpoint on disk, the log and the exit code.
package systest
