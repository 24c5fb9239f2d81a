package delta

// span is a run of chunks that is asked for at once: from the chunk first up to
// and without the chunk end.
type span struct{ first, end int }

// Bounds of one request: long enough that the requests' own time does not count,
// short enough that a machine soon sees that somebody else loads as well.
const (
	maxSpan = 1 << 20
	maxGap  = 32 << 10
)

// missing returns the first run of chunks that are missing, with at most limit
// bytes unless its first chunk alone is longer. Chunks that are there are part of
// it where they are a gap of at most maxGap bytes: less than another request.
func missing(x *Index, have []bool, limit int64) span {
	s := span{}
	for s.first < len(have) && have[s.first] {
		s.first++
	}
	s.end = s.first
	if s.first == len(have) {
		return s
	}
	start := x.chunks[s.first].offset
	for i := s.first; i < len(have); i++ {
		c := x.chunks[i]
		if i > s.first && (c.end()-start > limit || c.offset-x.chunks[s.end-1].end() > maxGap) {
			break
		}
		if !have[i] {
			s.end = i + 1
		}
	}
	return s
}

// fromStart returns the run from the file's first chunk to the last that is missing.
func fromStart(have []bool) span {
	s := span{}
	for i, h := range have {
		if !h {
			s.end = i + 1
		}
	}
	return s
}

// bytes returns the place of the run in the file.
func (s span) bytes(x *Index) (offset, length int64) {
	offset = x.chunks[s.first].offset
	return offset, x.chunks[s.end-1].end() - offset
}
