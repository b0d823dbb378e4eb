package failedlog

import (
	"cmp"
	"slices"
	"sort"
)

// span is a stretch [from, to) of a segment.
type span [2]int64

// spans is a set of stretches: sorted, apart from each other.
type spans []span

// add puts a stretch into the set.
func (s *spans) add(from, to int64) {
	if from >= to {
		return
	}
	list := *s
	// All that touch [from, to) become one.
	i := sort.Search(len(list), func(i int) bool { return list[i][1] >= from })
	j := i
	for j < len(list) && list[j][0] <= to {
		from, to = min(from, list[j][0]), max(to, list[j][1])
		j++
	}
	*s = slices.Replace(list, i, j, span{from, to})
}

// has says whether the byte at that offset is in the set.
func (s spans) has(offset int64) bool {
	i, found := slices.BinarySearchFunc(s, offset, func(e span, o int64) int { return cmp.Compare(e[0], o) })
	return found || (i > 0 && offset < s[i-1][1])
}
