// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/ttrpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/dynamicpb"
)

// The tests run in the order of this file, against one agent: the last one ends it.

func TestHealth(t *testing.T) {
	a := connect(t)
	if got := a.must("grpc.Health/Check", `{}`).number("status"); got != 1 {
		t.Errorf("status %d, wanted SERVING", got)
	}
	version := a.must("grpc.Health/Version", `{"service": "ignored"}`)
	if version.text("grpc_version") != "0.0.1" || version.text("agent_version") == "" {
		t.Errorf("version %v", version)
	}
}

func TestUnknownServiceAndMethod(t *testing.T) {
	a := connect(t)
	for _, c := range []struct {
		service, method string
		code            codes.Code
		text            string
	}{
		{"grpc.Nothing", "Check", codes.InvalidArgument, "grpc.Nothing service does not exist"},
		{"", "Check", codes.InvalidArgument, " service does not exist"},
		{"grpc.Health", "Nothing", codes.Unimplemented, "Nothing method"},
		{"grpc.AgentService", "", codes.Unimplemented, " method"},
	} {
		err := a.raw(c.service, c.method)
		if status.Code(err) != c.code || status.Convert(err).Message() != c.text {
			t.Errorf("%q %q: %v", c.service, c.method, err)
		}
	}
	a.must("grpc.Health/Check", `{}`)
}

func TestMetadataIsTolerated(t *testing.T) {
	a := connect(t)
	md := ttrpc.MD{}
	md.Set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	md.Set("baggage", "one", "two", "")
	for i := 0; i < 100; i++ {
		md.Set(fmt.Sprintf("key-%d", i), strings.Repeat("ä", i))
	}
	if _, err := a.call(ttrpc.WithMetadata(context.Background(), md), "grpc.Health/Check", `{}`); err != nil {
		t.Error(err)
	}
}

func TestOversizeRequestFailsAlone(t *testing.T) {
	a := connect(t)
	_, err := a.call(context.Background(), "grpc.Health/Check", `{"service": "`+strings.Repeat("x", 4<<20)+`"}`)
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("%v", err)
	}
	a.must("grpc.Health/Check", `{"service": "`+strings.Repeat("x", 4<<20-64)+`"}`)
}

func TestUnknownContainerIsNotFound(t *testing.T) {
	a := connect(t)
	for _, method := range []string{"StartContainer", "StatsContainer", "PauseContainer", "ResumeContainer",
		"RemoveContainer"} {
		a.refused(codes.NotFound, "not found", method, `{"container_id": "nobody"}`)
	}
	for _, method := range []string{"WaitProcess", "SignalProcess", "ReadStdout", "ReadStderr", "WriteStdin", "CloseStdin",
		"TtyWinResize"} {
		a.refused(codes.NotFound, "not found", method, `{"container_id": "nobody", "exec_id": "nobody"}`)
	}
	a.refused(codes.InvalidArgument, "", "CreateContainer", `{"container_id": "../nobody"}`)
	a.refused(codes.InvalidArgument, "", "CreateContainer", `{"container_id": "nobody"}`)
}

func TestCreateSandbox(t *testing.T) {
	connect(t).must("CreateSandbox", `{"hostname": "interop", "sandbox_id": "interop"}`)
}

func TestGuestDetails(t *testing.T) {
	details := connect(t).must("GetGuestDetails", `{"mem_block_size": true, "mem_hotplug_probe": true}`)
	agent := answer{details.field("agent_details").Message().Interface().(*dynamicpb.Message)}
	if agent.text("version") == "" {
		t.Errorf("details %v", details)
	}
}

// A container's whole life, with the calls that a shim has under way at each moment.
func TestLife(t *testing.T) {
	const id = "interop-life"
	a := connect(t)
	oom := make(chan error, 1)
	oomContext, endOOM := context.WithCancel(context.Background())
	go func() {
		_, err := a.call(oomContext, "GetOOMEvent", `{}`)
		oom <- err
	}()

	a.create(id, `echo to stderr >&2; while read line; do [ "$line" = end ] && exit 7; echo "got $line"; done`)
	a.refused(codes.AlreadyExists, "interop-life", "CreateContainer", container(id, "exit 1"))
	wait := a.wait(id, id)
	stdout, stderr := a.read("ReadStdout", id, id, 32<<10), a.read("ReadStderr", id, id, 32<<10)
	a.must("StartContainer", `{"container_id": "interop-life"}`)
	a.until(stderr, "to stderr\n")

	a.write(id, id, []byte("one\n"))
	a.until(stdout, "got one\n")

	// Answers overtake those that are parked.
	var group sync.WaitGroup
	for i := 0; i < 100; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			if _, err := a.call(context.Background(), "grpc.Health/Check", `{}`); err != nil {
				t.Error(err)
			}
		}()
	}
	group.Wait()

	stats := a.must("StatsContainer", `{"container_id": "interop-life"}`)
	if !stats.Has(stats.Descriptor().Fields().ByName("cgroup_stats")) {
		t.Errorf("no statistics: %v", stats)
	}

	a.must("PauseContainer", `{"container_id": "interop-life"}`)
	a.write(id, id, []byte("two\n"))
	a.must("ResumeContainer", `{"container_id": "interop-life"}`)
	a.until(stdout, "got two\n")

	a.write(id, id, []byte("end\n"))
	a.exited(wait, 7)
	if got := a.end(stdout); got != "got one\ngot two\n" {
		t.Errorf("stdout %q", got)
	}
	if got := a.end(stderr); got != "to stderr\n" {
		t.Errorf("stderr %q", got)
	}
	// The status is there for whoever asks later.
	a.exited(a.wait(id, id), 7)
	a.must("RemoveContainer", `{"container_id": "interop-life", "timeout": 10}`)
	a.refused(codes.NotFound, "not found", "WaitProcess", target(id, id, ""))

	// No container ran out of memory: the call is still parked, and given up.
	select {
	case err := <-oom:
		t.Errorf("GetOOMEvent: %v", err)
	default:
	}
	endOOM()
	if err := <-oom; !errors.Is(err, context.Canceled) {
		t.Errorf("GetOOMEvent: %v", err)
	}
	a.must("grpc.Health/Check", `{}`)
}

func TestExec(t *testing.T) {
	const id = "interop-exec"
	a := connect(t)
	a.create(id, "trap 'exit 3' TERM; while :; do sleep 0.05; done")
	a.must("StartContainer", `{"container_id": "interop-exec"}`)
	init := a.wait(id, id)

	exec := func(name, script string) {
		t.Helper()
		a.must("ExecProcess", target(id, name, `, "process": `+process(script)))
	}

	t.Run("cat", func(t *testing.T) {
		exec("cat", "exec cat")
		wait, stdout := a.wait(id, "cat"), a.read("ReadStdout", id, "cat", 1<<20)
		text := strings.Repeat("0123456789abcdef", 200000) // more than any pipe holds
		a.write(id, "cat", []byte(text))
		a.must("CloseStdin", target(id, "cat", ""))
		if got := a.end(stdout); got != text {
			t.Errorf("%d bytes came back, wanted %d", len(got), len(text))
		}
		a.exited(wait, 0)
	})

	t.Run("much", func(t *testing.T) {
		exec("much", "exec head -c 20000000 /dev/zero")
		// More than fits into a message is asked for.
		stdout := a.read("ReadStdout", id, "much", 16<<20)
		if got := a.end(stdout); len(got) != 20000000 || stdout.err != nil {
			t.Errorf("%d bytes, %v", len(got), stdout.err)
		}
		a.exited(a.wait(id, "much"), 0)
	})

	t.Run("many", func(t *testing.T) {
		var group sync.WaitGroup
		for i := 0; i < 10; i++ {
			group.Add(1)
			go func(name string, code int) {
				defer group.Done()
				script := fmt.Sprintf("echo %s; echo error >&2; exit %d", name, code)
				if _, err := a.call(context.Background(), "ExecProcess",
					target(id, name, `, "process": `+process(script))); err != nil {
					t.Error(err)
					return
				}
				out, failed := a.read("ReadStdout", id, name, 4096), a.read("ReadStderr", id, name, 4096)
				if got := <-a.wait(id, name); got != int64(code) {
					t.Errorf("%s: exit status %d", name, got)
				}
				<-out.done
				<-failed.done
				if out.text() != name+"\n" || failed.text() != "error\n" {
					t.Errorf("%s: %q %q", name, out.text(), failed.text())
				}
			}(fmt.Sprintf("many-%d", i), i)
		}
		group.Wait()
	})

	t.Run("signal", func(t *testing.T) {
		exec("victim", "exec sleep 1000")
		wait := a.wait(id, "victim")
		a.must("SignalProcess", target(id, "victim", `, "signal": 9`))
		a.exited(wait, 137)
		a.must("SignalProcess", target(id, id, `, "signal": 0`))
	})

	t.Run("errors", func(t *testing.T) {
		a.refused(codes.NotFound, "not found", "WaitProcess", target(id, "nobody", ""))
		a.refused(codes.NotFound, "not found", "SignalProcess", target(id, "nobody", `, "signal": 9`))
		a.refused(codes.NotFound, "not found", "ReadStdout", target(id, "nobody", `, "len": 10`))
		missing := strings.Replace(process(""), "/bin/sh", "/bin/missing", 1)
		_, err := a.call(context.Background(), "ExecProcess", target(id, "missing", `, "process": `+missing))
		if !strings.Contains(fmt.Sprint(err), "the file /bin/missing was not found") {
			t.Errorf("%v", err)
		}
	})

	a.must("SignalProcess", target(id, id, `, "signal": 15`))
	a.exited(init, 3)
	a.must("RemoveContainer", `{"container_id": "interop-exec"}`)
}

func TestDeadline(t *testing.T) {
	const id = "interop-deadline"
	a := connect(t)
	a.create(id, "read line; echo $line; read line")
	a.must("StartContainer", `{"container_id": "interop-deadline"}`)

	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := a.call(ctx, "WaitProcess", target(id, id, ""))
	if err == nil || !strings.Contains(err.Error(), context.DeadlineExceeded.Error()) &&
		status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("%v", err)
	}
	if took := time.Since(start); took < 90*time.Millisecond || took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	// A read whose time was over takes nothing away from the next one.
	short, cancelShort := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancelShort()
	if _, err := a.call(short, "ReadStdout", target(id, id, `, "len": 100`)); err == nil {
		t.Error("a read without data was answered")
	}
	time.Sleep(50 * time.Millisecond)
	stdout := a.read("ReadStdout", id, id, 100)
	a.write(id, id, []byte("kept\n"))
	a.until(stdout, "kept\n")
	a.must("SignalProcess", target(id, id, `, "signal": 9`))
	a.exited(a.wait(id, id), 137)
	a.must("RemoveContainer", `{"container_id": "interop-deadline"}`)
}

// A connection that goes away takes its parked calls with it, and nothing else.
func TestLostConnection(t *testing.T) {
	const id = "interop-lost"
	a := connect(t)
	a.create(id, "read line; echo $line; read line")
	a.must("StartContainer", `{"container_id": "interop-lost"}`)

	lost := connect(t)
	ended := make(chan error, 3)
	for _, method := range []string{"ReadStdout", "WaitProcess"} {
		go func(method string) {
			more := ""
			if method == "ReadStdout" {
				more = `, "len": 100`
			}
			_, err := lost.call(context.Background(), method, target(id, id, more))
			ended <- err
		}(method)
	}
	go func() {
		_, err := lost.call(context.Background(), "GetOOMEvent", `{}`)
		ended <- err
	}()
	time.Sleep(100 * time.Millisecond)
	lost.client.Close()
	for i := 0; i < 3; i++ {
		if err := <-ended; !errors.Is(err, ttrpc.ErrClosed) {
			t.Errorf("%v", err)
		}
	}

	stdout := a.read("ReadStdout", id, id, 100)
	a.write(id, id, []byte("for the living\n"))
	a.until(stdout, "for the living\n")
	a.must("SignalProcess", target(id, id, `, "signal": 9`))
	a.exited(a.wait(id, id), 137)
	a.must("RemoveContainer", `{"container_id": "interop-lost"}`)
}

func TestManyConnections(t *testing.T) {
	var group sync.WaitGroup
	for i := 0; i < 20; i++ {
		a := connect(t)
		for j := 0; j < 20; j++ {
			group.Add(1)
			go func() {
				defer group.Done()
				if _, err := a.call(context.Background(), "grpc.Health/Check", `{}`); err != nil {
					t.Error(err)
				}
			}()
		}
	}
	group.Wait()
}

// The last: its answer arrives, then the agent goes.
func TestDestroySandbox(t *testing.T) {
	a := connect(t)
	oom := make(chan error, 1)
	go func() {
		_, err := a.call(context.Background(), "GetOOMEvent", `{}`)
		oom <- err
	}()
	a.must("grpc.Health/Check", `{}`)
	a.must("DestroySandbox", `{}`)
	select {
	case err := <-oom:
		if err == nil {
			t.Error("GetOOMEvent succeeded")
		}
	case <-time.After(15 * time.Second):
		t.Error("GetOOMEvent was not ended")
	}
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if _, err := a.call(context.Background(), "grpc.Health/Check", `{}`); errors.Is(err, ttrpc.ErrClosed) {
			return
		}
	}
	t.Error("the agent goes on")
}
