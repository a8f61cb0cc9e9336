package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"math"
)

// The code below reads bbolt's file format through ReadAt and trusts nothing: bbolt panics on
// some damaged files, in its own goroutines too, and accepts others. A file that passes
// survey is safe to open and holds the last commit:
//
//   - both meta pages are intact (bbolt goes on with one of them, which may be that
//     of the transaction before the last),
//   - every page below the high water mark is reached exactly once from the root
//     or free according to the free list (a flipped page number leads to an intact page
//     of an older transaction),
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
	maxOverflow = maxState + 1<<20 // bytes of a page with its overflow pages
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

// A page is one with its header read and its overflow.
type page struct {
	number   uint64 // where it was found
	id       uint64 // the number that it contains
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

// leaf passes on the elements of a leaf.
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
	wrong bool // an element is not at its expected position
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
