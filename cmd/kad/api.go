package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/kadquic/kadquic/internal/control"
	"github.com/kadquic/kadquic/wire"
)

// api returns the node for a command, and done, which the command calls when it
// has finished: with --bootstrap a short-lived one that joins there; else the
// daemon of this profile; else, with $KAD_BOOTSTRAP, a short-lived one again. What
// a short-lived one puts is signed by signer's key; nil if nothing is put.
func (a *app) api(ctx context.Context, signer signer) (api control.API, done func(), err error) {
	given, err := a.bootstrapFlag()
	if err != nil {
		return nil, nil, err
	}
	if len(given) > 0 {
		return a.clientAPI(ctx, signer)
	}
	api, err = a.daemon(ctx)
	if err == nil {
		return api, func() {}, nil
	}
	if !errors.Is(err, control.ErrNoDaemon) {
		return nil, nil, err
	}
	env, envErr := a.bootstrapPeers()
	if envErr != nil {
		return nil, nil, envErr
	}
	if len(env) > 0 {
		return a.clientAPI(ctx, signer)
	}
	return nil, nil, err
}

// A signer gives the key that signs what is put.
type signer func() (ed25519.PrivateKey, error)

// profileKey signs by the profile's identity, which is made on first use.
func (a *app) profileKey() (ed25519.PrivateKey, error) {
	p, err := a.openProfile()
	if err != nil {
		return nil, err
	}
	key, _, err := p.key()
	return key, err
}

// clientAPI is a node for one command.
func (a *app) clientAPI(ctx context.Context, signer signer) (control.API, func(), error) {
	o := control.Options{Network: a.network, Started: time.Now()}
	if signer != nil {
		key, err := signer()
		if err != nil {
			return nil, nil, err
		}
		o.Publisher = key
	}
	n, err := a.client(ctx)
	if err != nil {
		return nil, nil, err
	}
	return control.Local(n, o), func() { n.Close() }, nil
}

// daemon is the node that "kad up" runs on this profile. If there is none the
// error is a *noDaemonError.
func (a *app) daemon(ctx context.Context) (*control.Client, error) {
	p, err := a.openProfile()
	if err != nil {
		return nil, err
	}
	c, err := control.Dial(ctx, p.dir)
	if errors.Is(err, control.ErrNoDaemon) {
		return nil, &noDaemonError{dir: p.dir, flag: a.data, busy: p.busy()}
	}
	if err != nil {
		return nil, err
	}
	if a.networkGiven {
		s, err := c.Status(ctx)
		if err != nil {
			return nil, err
		}
		if s.Network != a.network {
			return nil, usagef("the node that runs on %q is in the network %q, not %q: leave out --network, or join another network by --bootstrap", p.dir, s.Network, a.network)
		}
	}
	return c, nil
}

// ownDaemon is daemon for commands that ask a node about itself.
func (a *app) ownDaemon(ctx context.Context, what string) (*control.Client, error) {
	if len(a.bootstrap) > 0 {
		return nil, usagef("%s the node that runs on this profile (--data), not a network: leave out --bootstrap", what)
	}
	c, err := a.daemon(ctx)
	if none, ok := errors.AsType[*noDaemonError](err); ok {
		none.own = true
	}
	return c, err
}

// A noDaemonError says that no node runs on a profile, and what to do about it.
type noDaemonError struct {
	dir  string
	flag string // --data as it was given; empty: the default profile
	busy bool   // a process has its lock all the same
	own  bool   // no other node would do
}

func (e *noDaemonError) Error() string {
	if e.busy {
		return fmt.Sprintf("a process has the profile %q and does not answer: a node that starts or ends, or another kad command. Try again", e.dir)
	}
	up := "kad up"
	if e.flag != "" {
		up += " --data " + wire.Printable(e.flag)
	}
	msg := fmt.Sprintf("no node runs on the profile %q. Start one in another terminal (%s)", e.dir, up)
	if !e.own {
		msg += ", or join a network for this one command by --bootstrap, with the address that \"kad up\" printed (or set KAD_BOOTSTRAP)"
	}
	return msg
}

func (e *noDaemonError) Is(target error) bool { return target == control.ErrNoDaemon }
