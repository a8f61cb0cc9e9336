package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/join"
	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/wire"
)

// databaseName is the only file that the node keeps in Config.Data. It does not contain
// the identity.
const databaseName = "node.db"

// Names of the states that a node keeps in its database besides the records it holds.
const (
	statePeers = "peers" // a snapshot of the peerstore
	stateTable = "table" // the IDs of the table's contacts, 32 bytes each
)

// rememberEvery is how often peers and table are saved. They are also saved when the
// node has joined and at Close; a crash loses the changes since the last save.
// lookWhatIsNew is how often a node with few contacts checks whether its table has changed.
const (
	rememberEvery = 5 * time.Minute
	lookWhatIsNew = 5 * time.Second
)

// openData opens the database of Config.Data and restores the state that the node saved
// in its last run. Start calls it before any other work.
func (n *Node) openData() error {
	if n.config.Data == "" {
		return nil
	}
	if err := os.MkdirAll(n.config.Data, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	disk, err := store.Open(filepath.Join(n.config.Data, databaseName), store.Options{
		Self:   n.key,
		Limits: n.config.storeLimits(),
		Now:    time.Now(),
	})
	if err != nil {
		return err
	}
	n.disk, n.values = disk, disk
	n.publications.Load(disk, time.Now())
	if lost := disk.Report(); lost.Damaged+lost.DamagedStates > 0 {
		n.config.Logger.Warn("damaged records were dropped", "report", lost)
	}
	n.recall()
	return nil
}

// recall restores the peers known at the end of the last run. It does not enter the
// saved contacts into the table, because a table holds only peers that have answered;
// join tries them first. A node starts even if they are missing or damaged.
func (n *Node) recall() {
	peers, err := n.disk.Saved(statePeers)
	if err == nil && peers != nil {
		err = n.peers.Load(bytes.NewReader(peers), time.Now())
	}
	if err != nil {
		n.config.Logger.Warn("the peers known before are lost", "err", err)
	}
	n.sentBefore()
	table, err := n.disk.Saved(stateTable)
	if err != nil {
		n.config.Logger.Warn("the routing table is lost", "err", err)
	}
	var known []join.Target
	for len(table) >= len(wire.PeerID{}) && len(known) < maxRemembered {
		id := wire.PeerID(table)
		table = table[len(id):]
		if id != n.id && id.IsValid() {
			known = append(known, join.Target{ID: id})
		}
	}
	n.joiner.AddTargets(known)
}

// maxRemembered bounds the contacts saved and tried at the next start: the whole
// table of a node in a network of millions.
const maxRemembered = 512

// remember saves the peers and the table for recall. A node without live contacts keeps
// the previous save: its network may be back tomorrow.
func (n *Node) remember() error {
	if n.disk == nil || n.joiner.IsIsolated() {
		return nil
	}
	n.remembered.mu.Lock()
	defer n.remembered.mu.Unlock()
	var peers bytes.Buffer
	if err := n.peers.Snapshot(&peers, time.Now()); err != nil {
		return err
	}
	table := n.tableIDs()
	if err := n.disk.SaveAll(store.State{Name: statePeers, Data: peers.Bytes()}, store.State{Name: stateTable, Data: table}); err != nil {
		n.remembered.tried = time.Now()
		return err
	}
	n.remembered.table, n.remembered.at = table, time.Now()
	return nil
}

// remembered describes the last save of the peers and the table.
type remembered struct {
	mu    sync.Mutex // held during a save
	table []byte
	at    time.Time
	tried time.Time // of the latest failed save; zero: none
}

// rememberAgain is the delay after a failed save.
const rememberAgain = time.Minute

// tableIDs returns the IDs of up to maxRemembered contacts of the table, sorted and
// concatenated.
func (n *Node) tableIDs() []byte {
	var ids []wire.PeerID
	for _, ref := range n.routes.Refs() {
		if len(ids) == maxRemembered {
			break
		}
		ids = append(ids, ref.ID)
	}
	slices.SortFunc(ids, func(a, b wire.PeerID) int { return bytes.Compare(a[:], b[:]) })
	var table []byte
	for _, id := range ids {
		table = append(table, id[:]...)
	}
	return table
}

// rememberPeers is the task that saves the peers. A node that is killed soon after it
// met its first peers must find them again. So while the last save has fewer than K
// contacts, changes are saved at once, and otherwise every rememberEvery.
func (n *Node) rememberPeers(context.Context) {
	if n.disk == nil {
		return
	}
	table := n.tableIDs()
	n.remembered.mu.Lock()
	same := bytes.Equal(table, n.remembered.table)
	few := len(n.remembered.table) < n.config.K*len(wire.PeerID{})
	age, tried := time.Since(n.remembered.at), time.Since(n.remembered.tried)
	n.remembered.mu.Unlock()
	if age < rememberEvery && (same || !few) || tried < rememberAgain {
		return
	}
	if err := n.remember(); err != nil {
		n.config.Logger.Warn("cannot save the peers known", "err", err)
	}
}

// Backup writes a consistent copy of the node's database to w while the node runs:
// records, publications, peers. The copy does not contain the identity. For a node
// without Config.Data the error is ErrNoData.
func (n *Node) Backup(w io.Writer) error {
	if err := n.running(); err != nil {
		return err
	}
	switch {
	case n.disk == nil:
		return fmt.Errorf("backup: %w", ErrNoData)
	case w == nil:
		return errors.New("backup: no writer")
	}
	if err := n.remember(); err != nil {
		n.config.Logger.Warn("the backup has not the latest peers", "err", err)
	}
	if _, err := n.disk.WriteTo(w); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}
