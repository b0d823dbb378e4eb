package kafka

import "testing"

// TestFreeAddrNamesNoneTwice: a node with one port for two listeners does not start.
func TestFreeAddrNamesNoneTwice(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		addr, err := freeAddr()
		if err != nil {
			t.Fatal(err)
		}
		if seen[addr] {
			t.Fatalf("%s was named twice", addr)
		}
		seen[addr] = true
	}
}
