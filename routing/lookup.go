package routing

import (
	"context"
	"iter"
	"time"
)

type Query[A any] struct {
	Contact[A]
	Store bool // send STORE rather than FIND
	Hop   int  // 1 for a seed, 2 for one that a seed named, and so on
}

type Reply[A any] struct {
	Closer []Contact[A]
	Value  bool
}

type LookupOptions[A any] struct {
	K, Alpha  int
	Self      Contact[A]
	CountSelf bool
	Store     int
	Quorum    int
	Timeout   func(Query[A]) time.Duration
	Patient   bool
}

type LookupStats struct{ Queries, Stores, Answers, Failures, Hops int }

type Lookup[A any] struct{ target Key }

func NewLookup[A any](target Key, seeds iter.Seq[Contact[A]], o LookupOptions[A]) *Lookup[A] {
	return &Lookup[A]{target: target}
}

func (l *Lookup[A]) Next(now time.Time) (q Query[A], ok bool)  { return }
func (l *Lookup[A]) Answer(key Key, r Reply[A], now time.Time) {}
func (l *Lookup[A]) Fail(key Key, now time.Time)               {}
func (l *Lookup[A]) Wake() (t time.Time, ok bool)              { return }
func (l *Lookup[A]) Done(now time.Time) bool                   { return true }
func (l *Lookup[A]) Closest() iter.Seq[Contact[A]]             { return func(func(Contact[A]) bool) {} }
func (l *Lookup[A]) Without() (c Contact[A], ok bool)          { return }
func (l *Lookup[A]) Stats() LookupStats                        { return LookupStats{} }
func (l *Lookup[A]) Run(ctx context.Context, ask func(context.Context, Query[A]) (Reply[A], error)) error {
	return nil
}
