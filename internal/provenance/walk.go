package provenance

// Walk goes through the records that a header speaks of. The zero value has none.
type Walk struct {
	h   *Header
	i   int
	end int64
	bad bool
}

// Walk begins at the record that carries the header. The header must stay as it is meanwhile.
func (h *Header) Walk() Walk { return Walk{h: h, end: h.Offset} }

// Next gives the range of the next record, which has a value of so many bytes. It is false behind the
// last record, and from a record on that cannot belong to the header: its value was changed, or records
// are missing between.
func (w *Walk) Next(valueBytes int) (Range, bool) {
	h := w.h
	if h == nil || w.bad || w.i >= h.Records {
		return Range{}, false
	}
	r := Range{Offset: w.end, Length: int64(valueBytes) + 1 + h.Extra}
	if len(h.Spans) > 0 {
		s := &h.Spans[w.i]
		r.Offset += s.Gap
		r.Skipped = s.Skipped
		r.Length += s.Extra
	}
	w.i++
	end := r.End()
	if last := h.Offset + h.Bytes; r.Length < 0 || end < r.Offset || end > last || w.i == h.Records && end != last {
		w.bad = true
		return Range{}, false
	}
	w.end = end
	return r, true
}

// Left is how many records are still to come.
func (w *Walk) Left() int {
	if w.bad || w.h == nil {
		return 0
	}
	return w.h.Records - w.i
}
