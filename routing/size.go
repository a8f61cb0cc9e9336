package routing

// Size estimates how many nodes a network has, from how near to random
// targets their nearest nodes were found: the n-th nearest of N evenly spread
// keys is about n/N of the key space away. The estimate is of the last 32
// lookups observed; its error is some 23 % after one, 7 % after ten and 4 % at
// the full 32 (n = 20). The zero Size has observed nothing. Guard it if
// goroutines share it.
type Size struct {
	last [32]struct{ n, fraction float64 }
	seen int
}

// Observe takes in one lookup of a random key: the n-th nearest node that it
// found was at that distance. Lookups that found all nodes there are, as in a
// network of fewer than k, or of keys that nodes were asked to gather at, say
// nothing of the size; do not report them.
func (s *Size) Observe(n int, nth Distance) {
	o := &s.last[s.seen%len(s.last)]
	o.n, o.fraction = float64(n), nth.Fraction()
	s.seen++
}

// Estimate returns the number of nodes, or 0 while that is unknown.
func (s *Size) Estimate() float64 {
	n, fraction := -1.0, 0.0 // one less than the count: else it errs upward
	for _, o := range s.last[:min(s.seen, len(s.last))] {
		n += o.n
		fraction += o.fraction
	}
	if n <= 0 || fraction <= 0 {
		return 0
	}
	return n / fraction
}
