package natlab

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// A killed test can clean nothing up. This one starts another, kills it, and looks.
func TestAKilledTestLeavesNothing(t *testing.T) {
	const variable = "NATLAB_TEST_VICTIM"
	if os.Getenv(variable) != "" {
		h := New(t).Home("a", PortRestricted)
		cmd := h.Command(context.Background(), "sleep", "1000")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		fmt.Println("victim", cmd.Process.Pid, sleep(t, h))
		select {}
	}
	t.Parallel()
	New(t) // or skip
	victim := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	victim.Env = append(os.Environ(), variable+"=1")
	out, err := victim.StdoutPipe()
	if err == nil {
		err = victim.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var child, grandchild int
	for lines := bufio.NewScanner(out); grandchild == 0; {
		if !lines.Scan() {
			t.Fatal("the other test does not say what it runs")
		}
		fmt.Sscanf(lines.Text(), "victim %d %d", &child, &grandchild)
	}
	New(t)
	if started(child) == "" || started(grandchild) == "" {
		t.Error("programs of a live test were swept away")
	}
	victim.Process.Kill()
	victim.Wait()
	gone(t, child)
	New(t)
	gone(t, grandchild)
}
