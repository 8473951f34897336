// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"
)

// process is the JSON of an OCI process that runs a shell script.
func process(script string) string {
	args, _ := json.Marshal([]string{"/bin/sh", "-c", script})
	return fmt.Sprintf(`{"User": {"UID": 0, "GID": 0}, "Args": %s, "Env": ["PATH=/bin"], "Cwd": "/",
		"Capabilities": {"Bounding": ["CAP_KILL"], "Effective": ["CAP_KILL"], "Permitted": ["CAP_KILL"]}}`, args)
}

// container is the JSON of a CreateContainerRequest for a container whose init runs a shell script.
func container(id, script string) string {
	return fmt.Sprintf(`{"container_id": %q, "exec_id": %q, "OCI": {
		"Version": "1.0.2", "Process": %s, "Root": {"Path": %q}, "Hostname": "interop",
		"Mounts": [
			{"destination": "/proc", "source": "proc", "type": "proc", "options": ["nosuid", "noexec", "nodev"]},
			{"destination": "/dev", "source": "tmpfs", "type": "tmpfs", "options": ["nosuid", "mode=755"]}],
		"Linux": {"CgroupsPath": %q, "Namespaces": [
			{"Type": "pid"}, {"Type": "mount"}, {"Type": "ipc"}, {"Type": "uts"}]}}}`,
		id, id, process(script), os.Getenv("KATA_INTEROP_ROOTFS"), os.Getenv("KATA_INTEROP_CGROUP")+"/"+id)
}

func (a *agent) create(id, script string) {
	a.t.Helper()
	a.must("CreateContainer", container(id, script))
}

// target is the JSON of what names a process, with more members behind it.
func target(id, exec, more string) string {
	return fmt.Sprintf(`{"container_id": %q, "exec_id": %q%s}`, id, exec, more)
}

func (a *agent) write(id, exec string, data []byte) {
	a.t.Helper()
	for len(data) > 0 {
		part := data
		if len(part) > 1<<20 {
			part = part[:1<<20]
		}
		out := a.must("WriteStdin", target(id, exec, `, "data": "`+base64.StdEncoding.EncodeToString(part)+`"`))
		data = data[out.number("len"):]
	}
}

// reader collects one output stream until its end, as the shim does: one read at a time, parked for as long as it takes.
type reader struct {
	mutex sync.Mutex
	data  bytes.Buffer
	err   error
	done  chan struct{}
}

func (a *agent) read(stream, id, exec string, size int) *reader {
	r := &reader{done: make(chan struct{})}
	go func() {
		defer close(r.done)
		for {
			out, err := a.call(context.Background(), stream, target(id, exec, fmt.Sprintf(`, "len": %d`, size)))
			r.mutex.Lock()
			r.err = err
			if err == nil {
				r.data.Write(out.data("data"))
			}
			r.mutex.Unlock()
			if err != nil || len(out.data("data")) == 0 {
				return
			}
		}
	}()
	return r
}

func (r *reader) text() string {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.data.String()
}

// until waits for the stream to contain a text.
func (a *agent) until(r *reader, want string) {
	a.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if bytes.Contains([]byte(r.text()), []byte(want)) {
			return
		}
	}
	a.t.Fatalf("%q did not come, only %q", want, r.text())
}

// end waits for the end of the stream and returns all of it.
func (a *agent) end(r *reader) string {
	a.t.Helper()
	select {
	case <-r.done:
	case <-time.After(20 * time.Second):
		a.t.Fatalf("the stream does not end after %d bytes", len(r.text()))
	}
	return r.text()
}

// waiter is a WaitProcess that is under way.
type waiter chan int64

func (a *agent) wait(id, exec string) waiter {
	w := make(waiter, 1)
	go func() {
		out, err := a.call(context.Background(), "WaitProcess", target(id, exec, ""))
		if err != nil {
			a.t.Errorf("WaitProcess %s/%s: %v", id, exec, err)
			w <- -1
			return
		}
		w <- out.number("status")
	}()
	return w
}

func (a *agent) exited(w waiter, want int64) {
	a.t.Helper()
	select {
	case got := <-w:
		if got != want {
			a.t.Errorf("exit status %d, wanted %d", got, want)
		}
	case <-time.After(20 * time.Second):
		a.t.Fatal("the process does not end")
	}
}
