//go:build race

package cut

func init() { raceEnabled = true }
