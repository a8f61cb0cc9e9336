package store

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"slices"
)

// What follows reads bbolt's file format by itself, through ReadAt, believing
// nothing: bbolt panics on some damaged files, in goroutines of its own too, and
// takes others for good. A file that passes survey is safe to open, and says what
// was last committed to it:
//
//   - both meta pages are whole (bbolt goes on with one of them, which may be that
//     of the last transaction but one),
//   - every page below the high water mark is reached exactly once from the root
//     or free according to the free list (a flipped page number leads to a page of
//     an older transaction, which looks perfectly well),
//   - in every page the elements fill their room without a gap, as bbolt writes
//     them, and the keys rise and keep to the range that the branch above says.
//
// Numbers in the file have the byte order of the machine.
//
//	page     | id 8 | flags 2 | count 2 | overflow 4 | elements …
//	meta     | magic 4 | version 4 | page size 4 | flags 4 | root 8 | sequence 8 |
//	         | free list 8 | high water mark 8 | transaction 8 | FNV-1a of that 8 |
//	branch   | position 4 | key size 4 | page 8 | …, then the keys
//	leaf     | flags 4 | position 4 | key size 4 | value size 4 | …, then key, value, key, value
//	bucket   | root page 8 | sequence 8 | if the root is 0, a leaf page right here
const (
	pageHead    = 16
	metaLen     = 64
	elementSize = 16 // of branch and leaf alike

	pageBranch   = 0x01
	pageLeaf     = 0x02
	pageMeta     = 0x04
	pageFreelist = 0x10

	leafBucket = 0x01

	metaMagic   = 0xED0CDAED
	metaVersion = 2

	noFreelist  = math.MaxUint64
	maxOverflow = maxState + 1<<20 // bytes of a page with what it overflows into
)

var native = binary.NativeEndian

// A meta is the head of a database, of which a file has two.
type meta struct {
	pageSize             int64
	root, freelist, high uint64 // pages
	tx                   uint64
}

// parseMeta reads a meta page's beginning.
func parseMeta(b []byte) (m meta, magic, ok bool) {
	if len(b) < pageHead+metaLen {
		return m, false, false
	}
	h := fnv.New64a()
	h.Write(b[pageHead : pageHead+metaLen-8])
	b, flags := b[pageHead:], native.Uint16(b[8:])
	magic = native.Uint32(b) == metaMagic
	m = meta{
		pageSize: int64(native.Uint32(b[8:])), root: native.Uint64(b[16:]),
		freelist: native.Uint64(b[32:]), high: native.Uint64(b[40:]), tx: native.Uint64(b[48:]),
	}
	ok = magic && native.Uint32(b[4:]) == metaVersion && native.Uint64(b[56:]) == h.Sum64() && flags == pageMeta &&
		m.pageSize >= 1024 && m.pageSize <= 64<<10 && m.pageSize&(m.pageSize-1) == 0
	return m, magic, ok
}

// readMetas returns the newer of a file's two heads.
func readMetas(f io.ReaderAt, size int64) (meta, error) {
	var none meta
	if size == 0 {
		return none, damage(-1, "the file is empty")
	}
	var first [pageHead + metaLen]byte
	n, err := f.ReadAt(first[:], 0)
	if err != nil && err != io.EOF {
		return none, err
	}
	a, magicA, okA := parseMeta(first[:n])
	// The second stands where the page size says, which only the first can tell.
	var b meta
	var magicB, okB bool
	for pageSize := int64(1024); pageSize <= 64<<10 && !okB; pageSize *= 2 {
		if okA && pageSize != a.pageSize {
			continue
		}
		var second [pageHead + metaLen]byte
		if n, err := f.ReadAt(second[:], pageSize); err != nil && err != io.EOF {
			return none, err
		} else if m, magic, ok := parseMeta(second[:n]); ok && m.pageSize == pageSize || magic {
			b, magicB, okB = m, true, ok
		}
	}
	switch {
	case okA && okB:
		if b.tx > a.tx {
			return b, nil
		}
		return a, nil
	case okA:
		return none, damage(1, "the second of the two heads is damaged; the first may be out of date")
	case okB:
		return none, damage(0, "the first of the two heads is damaged; the second may be out of date")
	case magicA || magicB || bytes.Equal(first[:n], make([]byte, n)):
		return none, damage(0, "both heads are damaged")
	}
	return none, ErrForeign
}

func damage(page int64, format string, args ...any) error {
	return &DamagedError{Page: page, Reason: fmt.Sprintf(format, args...)}
}

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

// keys passes what stands in a bucket to visit.
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

// A page is one with its header read and its overflow.
type page struct {
	number   uint64 // where it was found
	id       uint64 // what it says itself
	flags    uint16
	count    uint16
	overflow uint32
	data     []byte
}

// read reads a page of the file; its data is overwritten by the next.
func (s *survey) read(number uint64) (page, error) {
	size := s.meta.pageSize
	if number < 2 || number >= s.meta.high {
		return page{}, damage(int64(min(number, math.MaxInt64)), "no such page")
	}
	if int64(len(s.buf)) < size {
		s.buf = make([]byte, size)
	}
	if err := s.fill(s.buf[:size], number); err != nil {
		return page{}, err
	}
	p, err := s.parse(int64(number), s.buf[:size])
	if err != nil {
		return page{}, err
	}
	pages := uint64(p.overflow) + 1
	if p.id != number || pages > s.meta.high-number || pages > uint64(maxOverflow/size) && p.flags != pageFreelist {
		return page{}, damage(int64(number), "malformed header")
	}
	if pages > 1 {
		if want := int(pages) * int(size); len(s.buf) < want {
			s.buf = append(s.buf[:size], make([]byte, want-int(size))...)
		}
		p.data = s.buf[:int64(pages)*size]
		if err := s.fill(p.data[size:], number+1); err != nil {
			return page{}, err
		}
	}
	return p, nil
}

func (s *survey) fill(b []byte, page uint64) error {
	if _, err := s.f.ReadAt(b, int64(page)*s.meta.pageSize); err == io.EOF {
		return damage(int64(page), "beyond the end of the file")
	} else if err != nil {
		return damage(int64(page), "%v", err)
	}
	return nil
}

func (s *survey) parse(number int64, b []byte) (page, error) {
	if len(b) < pageHead {
		return page{}, damage(number, "too short")
	}
	return page{
		number: uint64(number), id: native.Uint64(b), flags: native.Uint16(b[8:]),
		count: native.Uint16(b[10:]), overflow: native.Uint32(b[12:]), data: b,
	}, nil
}

// A leafElement is a key and its value, or a bucket.
type leafElement struct {
	bucket     bool
	key, value []byte
}

// leaf passes on what stands in a leaf.
func (s *survey) leaf(p page, sp span, element func(page int64, e leafElement) error) error {
	c := newContents(p)
	var last []byte
	for i := range int(p.count) {
		h := p.data[pageHead+elementSize*i:]
		flags := native.Uint32(h)
		key := c.next(i, native.Uint32(h[4:]), native.Uint32(h[8:]))
		value := c.more(native.Uint32(h[12:]))
		if c.wrong || flags&^leafBucket != 0 || !sp.holds(key, last, i) {
			return damage(int64(p.number), "malformed leaf")
		}
		last = key
		if err := element(int64(p.number), leafElement{flags&leafBucket != 0, key, value}); err != nil {
			return err
		}
	}
	return nil
}

// branch appends the pages that a branch leads to.
func (s *survey) branch(p page, sp span, below []span) ([]span, error) {
	if p.count == 0 {
		return nil, damage(int64(p.number), "an empty branch")
	}
	c := newContents(p)
	first := len(below)
	var last []byte
	for i := range int(p.count) {
		h := p.data[pageHead+elementSize*i:]
		key := c.next(i, native.Uint32(h), native.Uint32(h[4:]))
		if c.wrong || !sp.holds(key, last, i) {
			return nil, damage(int64(p.number), "malformed branch")
		}
		last = key
		if i > 0 {
			below[first+i-1].high = bytes.Clone(key)
		}
		below = append(below, span{native.Uint64(h[8:]), bytes.Clone(key), sp.high})
	}
	return below, nil
}

// holds reports whether key, the ith of a page and behind last, may stand there.
func (sp span) holds(key, last []byte, i int) bool {
	return len(key) > 0 && (i == 0 || bytes.Compare(key, last) > 0) &&
		bytes.Compare(key, sp.low) >= 0 && (sp.high == nil || bytes.Compare(key, sp.high) < 0)
}

// contents walks over the keys and values of a page, which lie behind its elements
// one after the other.
type contents struct {
	data  []byte
	at    int
	wrong bool // something lies where it should not
}

func newContents(p page) *contents {
	c := &contents{data: p.data, at: pageHead + elementSize*int(p.count)}
	c.wrong = c.at > len(c.data)
	if c.wrong {
		c.data = make([]byte, c.at) // elements that are not there read as zero
		copy(c.data, p.data)
	}
	return c
}

// next returns the key of the ith element, which is to lie at position pos of it.
func (c *contents) next(i int, pos, size uint32) []byte {
	if int64(pageHead+elementSize*i)+int64(pos) != int64(c.at) {
		c.wrong = true
	}
	return c.more(size)
}

func (c *contents) more(size uint32) []byte {
	if c.wrong || int64(size) > int64(len(c.data)-c.at) {
		c.wrong = true
		return nil
	}
	b := c.data[c.at : c.at+int(size)]
	c.at += int(size)
	return b
}
