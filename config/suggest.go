package config

import (
	"fmt"
	"strings"
)

// squash takes out what people write differently: case, and the signs between words.
func squash(s string) string {
	return strings.NewReplacer("_", "", "-", "", ".", "", " ", "").Replace(strings.ToLower(s))
}

// nearest gives the candidate that s was most likely meant to be, or "".
func nearest(s string, candidates []string) string {
	best, bestDistance := "", 1<<30
	word := squash(s)
	for _, c := range candidates {
		other := squash(c)
		d := distance(word, other)
		if d <= max(1, min(len(word), len(other))/3) && d < bestDistance {
			best, bestDistance = c, d
		}
	}
	if best != "" || len(word) < 2 {
		return best
	}
	// The only one that begins alike: warning for warn, gz for gzip.
	for _, c := range candidates {
		if other := squash(c); strings.HasPrefix(other, word) || (len(other) > 1 && strings.HasPrefix(word, other)) {
			if best != "" {
				return ""
			}
			best = c
		}
	}
	return best
}

// distance counts the letters to add, take out, change or swap with their neighbour.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 1 << 20
	}
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

func didYouMean(s string) string {
	if s == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", s)
}

// tables are all rows with the words for where they belong.
var tables = []struct {
	rows  []row
	place string
}{
	{topRows, "at the top level of the file"},
	{kafkaRows, "under kafka"},
	{sourceRows, "in an entry of sources"},
}

// suggestKey gives the key of the block of rows at prefix ("" or "tls.") that an unknown key was most
// likely meant to be, or a hint in words.
func suggestKey(rows []row, prefix, key string) (near, hint string) {
	if flat := writeAsBlock(rows, prefix, key); flat != "" {
		return "", flat
	}
	var names []string
	for _, r := range rows {
		if parent(r.name) == prefix {
			names = append(names, base(r.name))
		}
	}
	if near := nearest(key, names); near != "" {
		return near, ""
	}
	// Words from other shippers: the same word first, then one that is nearly it.
	also := map[string]string{}
	var others []string
	for _, r := range rows {
		for _, other := range r.also {
			if parent(r.name) == prefix {
				also[squash(other)] = base(r.name)
				others = append(others, squash(other))
			}
		}
	}
	if known := also[squash(key)]; known != "" {
		return known, ""
	}
	if elsewhere := belongsElsewhere(key); elsewhere != "" {
		return "", elsewhere
	}
	return also[nearest(key, others)], ""
}

// writeAsBlock words a hint for a path with dots, such as kafka.brokers or retry.max_interval.
func writeAsBlock(rows []row, prefix, key string) string {
	known := find(rows, prefix+key) != nil || (strings.HasPrefix(key, "kafka.") && find(kafkaRows, key[len("kafka."):]) != nil)
	if !known || !strings.Contains(key, ".") {
		return ""
	}
	return "write it as a block: " + strings.ReplaceAll(key, ".", ": {") + ": ..." + strings.Repeat("}", strings.Count(key, "."))
}

// belongsElsewhere words a hint for a key that is known in another block.
func belongsElsewhere(key string) string {
	for _, t := range tables {
		for _, r := range t.rows {
			if base(r.name) != key {
				continue
			}
			if p := strings.TrimSuffix(parent(r.name), "."); p != "" {
				return fmt.Sprintf("%s belongs under %s, %s", key, p, t.place)
			}
			return fmt.Sprintf("%s belongs %s", key, t.place)
		}
	}
	return ""
}

// parent gives "tls." for "tls.ca_file" and "" for "tls".
func parent(name string) string { return name[:strings.LastIndexByte(name, '.')+1] }

// base gives "ca_file" for "tls.ca_file".
func base(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }
