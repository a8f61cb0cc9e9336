package store

import (
	"cmp"
	"fmt"
	"io"
	"slices"
)

// A survey reads a database.
type survey struct {
	f    io.ReaderAt
	meta meta
	used []bool // by page
	buf  []byte

	buckets []string // their names

	// visit is called for every key and value that stands in a bucket. They are
	// not to be kept.
	visit func(bucket string, page int64, key, value []byte)
}

// A span is a page still to be read, whose keys are to lie from low on and below
// high, nil: no bound.
type span struct {
	page      uint64
	low, high []byte
}

// run reads the database of the newer head from its root to its last page.
func (s *survey) run(size int64) (err error) {
	if s.meta, err = readMetas(s.f, size); err != nil {
		return err
	}
	m := s.meta
	switch {
	case m.freelist == noFreelist:
		return fmt.Errorf("%w: a database without a free list", ErrForeign)
	case m.high < 4 || m.high > uint64(size/m.pageSize):
		return damage(-1, "%d bytes are left of at least %d pages of %d", size, m.high, m.pageSize)
	}
	s.used = make([]bool, m.high)
	s.used[0], s.used[1] = true, true
	if err := s.freePages(); err != nil {
		return err
	}
	type bucket struct {
		name string
		root uint64
	}
	var buckets []bucket
	err = s.tree(m.root, func(page int64, e leafElement) error {
		if !e.bucket || len(e.value) < pageHead {
			return damage(page, "key %q, which is no bucket, among the buckets", e.key)
		}
		s.buckets = append(s.buckets, string(e.key))
		root := native.Uint64(e.value)
		if root != 0 {
			buckets = append(buckets, bucket{string(e.key), root})
			return nil
		}
		inline := e.value[pageHead:]
		p, err := s.parse(page, inline)
		if err != nil {
			return err
		}
		if p.flags != pageLeaf || p.id != 0 || p.overflow != 0 {
			return damage(page, "the small bucket %q is no leaf", e.key)
		}
		return s.leaf(p, span{}, s.keys(string(e.key)))
	})
	if err != nil {
		return err
	}
	for _, b := range buckets {
		if err := s.tree(b.root, s.keys(b.name)); err != nil {
			return err
		}
	}
	for page, used := range s.used {
		if !used {
			return damage(int64(page), "neither in use nor free")
		}
	}
	return nil
}

// keys passes the keys and values of a bucket to visit.
func (s *survey) keys(bucket string) func(int64, leafElement) error {
	return func(page int64, e leafElement) error {
		if e.bucket {
			return damage(page, "a bucket %q within %q", e.key, bucket)
		}
		s.visit(bucket, page, e.key, e.value)
		return nil
	}
}

// claim marks the pages that p fills as used.
func (s *survey) claim(p page) error {
	for i := p.number; i <= p.number+uint64(p.overflow); i++ {
		if s.used[i] {
			return damage(int64(i), "used twice")
		}
		s.used[i] = true
	}
	return nil
}

// freePages reads the free list.
func (s *survey) freePages() error {
	p, err := s.read(s.meta.freelist)
	if err != nil {
		return err
	}
	if err := s.claim(p); err != nil {
		return err
	}
	ids, n := p.data[pageHead:], uint64(p.count)
	if n == 0xFFFF {
		n, ids = native.Uint64(ids), ids[8:]
	}
	if p.flags != pageFreelist || n > uint64(len(ids)/8) {
		return damage(int64(p.number), "malformed free list")
	}
	for last := uint64(1); n > 0; n-- {
		id := native.Uint64(ids)
		ids = ids[8:]
		if id <= last || id >= s.meta.high || s.used[id] {
			return damage(int64(p.number), "the free list names page %d", id)
		}
		last, s.used[id] = id, true
	}
	return nil
}

// tree reads a tree's pages, of one level after the other and in the order of the
// file, so that a disk need not seek.
func (s *survey) tree(root uint64, element func(page int64, e leafElement) error) error {
	for level := []span{{page: root}}; len(level) > 0; {
		slices.SortFunc(level, func(a, b span) int { return cmp.Compare(a.page, b.page) })
		var below []span
		for _, sp := range level {
			p, err := s.read(sp.page)
			if err == nil {
				err = s.claim(p)
			}
			if err != nil {
				return err
			}
			switch p.flags {
			case pageLeaf:
				if p.count == 0 && (sp.low != nil || sp.high != nil) {
					return damage(int64(p.number), "an empty leaf")
				}
				err = s.leaf(p, sp, element)
			case pageBranch:
				below, err = s.branch(p, sp, below)
			default:
				err = damage(int64(p.number), "neither branch nor leaf")
			}
			if err != nil {
				return err
			}
		}
		level = below
	}
	return nil
}
