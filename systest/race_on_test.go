//go:build linux && race

package systest

const raceEnabled = true
