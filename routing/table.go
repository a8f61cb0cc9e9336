package routing

import (
	"iter"
	"math/rand/v2"
	"time"
)

type Contact[A any] struct {
	Key  Key
	Addr A
}

type Group struct {
	Name                any
	PerBucket, PerTable int
}

type TableOptions[A any] struct {
	K            int
	ProbeAfter   time.Duration
	Replacements int
	Groups       func(Contact[A]) []Group
}

type Bucket[A any] struct {
	Depth        int
	Last         bool
	Contacts     []Contact[A]
	Marked       int
	Replacements int
	Looked       time.Time
}

type Table[A any] struct{ self Key }

func NewTable[A any](self Key, o TableOptions[A]) *Table[A] { return &Table[A]{self: self} }

func (t *Table[A]) Self() Key                                                    { return t.self }
func (t *Table[A]) Len() int                                                     { return 0 }
func (t *Table[A]) Contains(key Key) bool                                        { return false }
func (t *Table[A]) All() iter.Seq[Contact[A]]                                    { return func(func(Contact[A]) bool) {} }
func (t *Table[A]) Seen(c Contact[A], now time.Time) (probe Contact[A], ok bool) { return }
func (t *Table[A]) Failed(key Key, now time.Time) (promoted Contact[A], ok bool) { return }
func (t *Table[A]) Suspects(now time.Time) iter.Seq[Contact[A]] {
	return func(func(Contact[A]) bool) {}
}
func (t *Table[A]) Remove(key Key) bool { return false }
func (t *Table[A]) AppendNearest(dst []Contact[A], target Key, n int) []Contact[A] {
	return dst
}
func (t *Table[A]) Nearest(target Key) iter.Seq[Contact[A]] { return func(func(Contact[A]) bool) {} }
func (t *Table[A]) Closer(target Key) int                   { return 0 }
func (t *Table[A]) Complete() int                           { return 0 }
func (t *Table[A]) Looked(target Key, now time.Time)        {}
func (t *Table[A]) Stale(before time.Time, src rand.Source) iter.Seq[Key] {
	return func(func(Key) bool) {}
}
func (t *Table[A]) Buckets() iter.Seq[Bucket[A]] { return func(func(Bucket[A]) bool) {} }
