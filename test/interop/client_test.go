// SPDX-License-Identifier: Apache-2.0

// Package interop drives a running agent with containerd's ttRPC client, as the Go shim does, and with Go's protobuf
// runtime over descriptors made from our .proto files. Requests are written as JSON; nothing is generated.
//
// Environment, set by the script `run`: KATA_AGENT_SOCKET, the agent's UNIX socket; KATA_AGENT_DESCRIPTORS, a
// FileDescriptorSet; KATA_INTEROP_ROOTFS, a directory with a busybox in it; KATA_INTEROP_CGROUP, a cgroup path.
package interop

import (
	"context"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/containerd/ttrpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

var files *protoregistry.Files

func TestMain(m *testing.M) {
	raw, err := os.ReadFile(os.Getenv("KATA_AGENT_DESCRIPTORS"))
	if err != nil {
		panic(err)
	}
	var set descriptorpb.FileDescriptorSet
	if err = proto.Unmarshal(raw, &set); err != nil {
		panic(err)
	}
	if files, err = protodesc.NewFiles(&set); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// agent is one connection.
type agent struct {
	t      *testing.T
	client *ttrpc.Client
}

func connect(t *testing.T) *agent {
	t.Helper()
	conn, err := net.Dial("unix", os.Getenv("KATA_AGENT_SOCKET"))
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{t, ttrpc.NewClient(conn)}
	t.Cleanup(func() { a.client.Close() })
	return a
}

// answer is a decoded response.
type answer struct{ *dynamicpb.Message }

func (a answer) field(name string) protoreflect.Value {
	field := a.Descriptor().Fields().ByName(protoreflect.Name(name))
	if field == nil {
		panic("no field " + name)
	}
	return a.Get(field)
}

func (a answer) text(name string) string { return a.field(name).String() }
func (a answer) data(name string) []byte { return a.field(name).Bytes() }
func (a answer) number(name string) int64 {
	switch v := a.field(name).Interface().(type) {
	case int32:
		return int64(v)
	case uint32:
		return int64(v)
	case uint64:
		return int64(v)
	case protoreflect.EnumNumber:
		return int64(v)
	default:
		return a.field(name).Int()
	}
}

// find looks up "Service/Method", where a missing service means grpc.AgentService.
func find(name string) (service, short string, m protoreflect.MethodDescriptor) {
	service, short = "grpc.AgentService", name
	if slash := strings.IndexByte(name, '/'); slash >= 0 {
		service, short = name[:slash], name[slash+1:]
	}
	found, err := files.FindDescriptorByName(protoreflect.FullName(service + "." + short))
	if err != nil {
		panic(err)
	}
	return service, short, found.(protoreflect.MethodDescriptor)
}

// call sends a request given as JSON.
func (a *agent) call(ctx context.Context, name, request string) (answer, error) {
	service, short, m := find(name)
	in, out := dynamicpb.NewMessage(m.Input()), answer{dynamicpb.NewMessage(m.Output())}
	if err := protojson.Unmarshal([]byte(request), in); err != nil {
		panic(name + ": " + err.Error())
	}
	return out, a.client.Call(ctx, service, short, in, out)
}

// must is a call that has to succeed.
func (a *agent) must(name, request string) answer {
	a.t.Helper()
	out, err := a.call(context.Background(), name, request)
	if err != nil {
		a.t.Fatalf("%s: %v", name, err)
	}
	return out
}

// refused is a call that has to fail, with a code and a text that contains what is given.
func (a *agent) refused(code codes.Code, text, name, request string) {
	a.t.Helper()
	_, err := a.call(context.Background(), name, request)
	if status.Code(err) != code || !strings.Contains(strings.ToLower(status.Convert(err).Message()), text) {
		a.t.Errorf("%s %s: %v, wanted %v with %q", name, request, err, code, text)
	}
}

// raw calls a method that need not exist.
func (a *agent) raw(service, method string) error {
	_, _, check := find("grpc.Health/Check")
	in, out := dynamicpb.NewMessage(check.Input()), dynamicpb.NewMessage(check.Output())
	return a.client.Call(context.Background(), service, method, in, out)
}
