package node

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kadquic/kadquic/peerstore"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// Every sentinel error of the public packages reads with the name of a package, so that a log line
// says where it comes from, and the package comment lists it.
func TestSentinelErrors(t *testing.T) {
	all := map[string]map[string]error{
		"node": {"ErrNotFound": ErrNotFound, "ErrQuorum": ErrQuorum, "ErrConflict": ErrConflict, "ErrRefused": ErrRefused, "ErrUnreachable": ErrUnreachable,
			"ErrWrongPeer": ErrWrongPeer, "ErrWrongNetwork": ErrWrongNetwork, "ErrBusy": ErrBusy, "ErrNoProtocol": ErrNoProtocol,
			"ErrNotStarted": ErrNotStarted, "ErrClosed": ErrClosed, "ErrNoData": ErrNoData},
		"wire": {"ErrMalformed": wire.ErrMalformed, "ErrTooLarge": wire.ErrTooLarge, "ErrStreamHeader": wire.ErrStreamHeader, "ErrPeerID": wire.ErrPeerID,
			"ErrAddr": wire.ErrAddr, "ErrCandidateOffer": wire.ErrCandidateOffer, "ErrRecord": wire.ErrRecord, "ErrBadKind": wire.ErrBadKind,
			"ErrBadKey": wire.ErrBadKey, "ErrBadSignature": wire.ErrBadSignature, "ErrExpired": wire.ErrExpired, "ErrTooFarAhead": wire.ErrTooFarAhead},
		"quic": {"ErrClosed": quic.ErrClosed, "ErrTimeout": quic.ErrTimeout, "ErrWrongKey": quic.ErrWrongKey, "ErrNetwork": quic.ErrNetwork, "ErrRefused": quic.ErrRefused, "ErrBusy": quic.ErrBusy,
			"ErrUnreachable": quic.ErrUnreachable, "ErrWouldBlock": quic.ErrWouldBlock, "ErrForgotten": quic.ErrForgotten},
		"peerstore": {"ErrSnapshot": peerstore.ErrSnapshot},
		"routing":   {},
	}
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	for pkg, listed := range all {
		for _, name := range sentinels(t, filepath.Join("..", pkg)) {
			err := listed[name]
			if err == nil {
				t.Errorf("%s.%s is not in this test", pkg, name)
				continue
			}
			if from, _, ok := strings.Cut(err.Error(), ": "); !ok || all[from] == nil {
				t.Errorf("%s.%s reads %q, without the name of its package", pkg, name, err)
			}
			if !strings.Contains(string(doc), name) {
				t.Errorf("doc.go does not list %s.%s", pkg, name)
			}
		}
	}
}

// sentinels returns the exported error variables of the package in a folder.
func sentinels(t *testing.T, folder string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != folder:
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, d := range f.Decls {
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR {
				for _, s := range g.Specs {
					for _, id := range s.(*ast.ValueSpec).Names {
						if strings.HasPrefix(id.Name, "Err") {
							names = append(names, id.Name)
						}
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// errors.Is and errors.As see through the errors of all packages.
func TestErrorsAcrossPackages(t *testing.T) {
	id := idOf(testKey(1))
	remote := fmt.Errorf("put: %w", &RemoteError{Peer: id, Code: wire.CodeBusy})
	boot := fmt.Errorf("join: %w", &BootstrapError{[]error{quic.ErrNetwork}})
	put := &PutError{Stored: Stored{Count: 1, Of: 2}, Quorum: 2, Causes: map[wire.PeerID]error{id: remote}}
	for name, is := range map[string]bool{
		"a busy peer is ErrBusy":                      errors.Is(remote, ErrBusy) && errors.Is(remote, quic.ErrBusy),
		"a code is matched":                           errors.Is(remote, wire.CodeBusy) && !errors.Is(remote, wire.CodeFull),
		"a bootstrap error is unreachable":            errors.Is(boot, ErrUnreachable),
		"and each of its causes":                      errors.Is(boot, ErrWrongNetwork) && errors.Is(boot, quic.ErrNetwork) && !errors.Is(boot, ErrWrongPeer),
		"too few copies are ErrQuorum":                errors.Is(put, ErrQuorum) && !errors.Is(put, ErrUnreachable),
		"a put without any peer is unreachable":       errors.Is(&PutError{Alone: true}, ErrUnreachable),
		"a conflict is ErrConflict":                   errors.Is(fmt.Errorf("put: %w", &ConflictError{}), ErrConflict),
		"a dial to an unknown peer is ErrUnreachable": errors.Is(&unreachableError{peer: id}, ErrUnreachable),
	} {
		if !is {
			t.Errorf("not so: %s", name)
		}
	}
	if e, ok := errors.AsType[*RemoteError](put.Causes[id]); !ok || e.Peer != id {
		t.Errorf("the cause of a put that failed: %v", put.Causes[id])
	}
}
