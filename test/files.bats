#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Files that the host sends where it shares no file system, and what it asks about volumes.

load helpers

share=/run/kata-containers/shared/containers

setup() { guest_start; agent_start; }
teardown() { guest_stop; }

# send PATH TYPE-AND-MODE DATA: one request, as both hosts make it for a small file.
send() {
	rpc CopyFile "{\"path\":\"$1\",\"file_mode\":$(($2)),\"dir_mode\":488,\"uid\":0,\"gid\":0,\"file_size\":${#3},\"data\":\"$(printf %s "$3" | base64 -w0)\"}"
}

@test "files: a file, a link, a directory, and one that comes in pieces" {
	head -c 2500000 /dev/urandom >"$tmp/large"
	ctl cp "$tmp/large" "$share/sub/large"
	in_guest cmp "$tmp/large" "$share/sub/large"
	[ "$(in_guest ls -A "$share/sub")" = large ]
	send "$share/small" 0100640 'hello'
	[ "$(in_guest cat "$share/small")" = hello ]
	[ "$(in_guest stat -c %a "$share/small")" = 640 ]
	send "$share/directory" 040750 ''
	[ "$(in_guest stat -c '%F %a' "$share/directory")" = "directory 750" ]
	# What a ConfigMap is made of, and its change.
	send "$share/map/..1/key" 0100644 'one'
	send "$share/map/..data" 0120777 '..1'
	send "$share/map/key" 0120777 '..data/key'
	[ "$(in_guest cat "$share/map/key")" = one ]
	send "$share/map/..2/key" 0100644 'two'
	send "$share/map/..data" 0120777 '..2'
	[ "$(in_guest cat "$share/map/key")" = two ]
}

@test "files: only below the shared directory, and never through a link" {
	mkdir "$tmp/outside"
	echo precious >"$tmp/outside/file"
	fails_with "removing" send /tmp/foo 0100644 x
	fails_with "removing" send /run/kata-containers/shared/foo 0100644 x
	fails_with "removing" send "$share/../x" 0100644 x
	fails_with "removing" send "$share" 040755 ''
	send "$share/out" 0120777 "$tmp/outside"
	fails_with "ELOOP" send "$share/out/file" 0100644 x
	fails_with "ELOOP" send "$share/out/new" 0120777 x
	fails_with "ELOOP" send "$share/out/sub/file" 0100644 x
	send "$share/link" 0120777 "$tmp/outside/file"
	send "$share/link" 0100600 changed
	[ "$(cat "$tmp/outside/file")" = precious ]
	[ "$(ls "$tmp/outside")" = file ]
	fails_with "neither a file nor a directory nor a link" send "$share/dev" 020666 x
	[ ! -e /tmp/foo ]
	[ ! -e "$(in_guest find /run/kata-containers/shared -name x -o -name foo)" ]
}

@test "files: a container gets what was sent, and its last words are read" {
	send "$share/web-resolv.conf" 0100644 'nameserver 192.0.2.7'
	send "$share/web-log" 0100666 ''
	spec web /bin/sh -c 'cat /etc/resolv.conf; echo its last words >/dev/termination-log' >"$tmp/request"
	python3 - "$tmp/request" "$share" <<-'END'
	import json, sys
	path, share = sys.argv[1:]
	request = json.load(open(path))
	oci = request['OCI']
	oci.setdefault('annotations', {})['io.kubernetes.container.terminationMessagePath'] = '/dev/termination-log'
	key = 'Mounts' if 'Mounts' in oci else 'mounts'
	for destination, source in (('/etc/resolv.conf', 'web-resolv.conf'), ('/dev/termination-log', 'web-log')):
	    oci[key].append({'destination': destination, 'source': f'{share}/{source}', 'type': 'bind', 'options': ['bind']})
	json.dump(request, open(path, 'w'))
	END
	rpc CreateContainer "@$tmp/request"
	start web
	[ "$(read_all web)" = "nameserver 192.0.2.7" ]
	[ "$(wait_code web)" = 0 ]
	rpc GetDiagnosticData '{"log_type":"termination_log","container_id":"web"}' | grep -q 'its last words'
	rpc RemoveContainer '{"container_id":"web"}'
	# The end of the sandbox takes them all.
	agent_destroy
	eventually nothing_left
}

@test "files: how full a volume is" {
	in_guest sh -c 'mkdir /run/vol && mount -t tmpfs -o size=1m,nr_inodes=100 vol /run/vol'
	run rpc GetVolumeStats '{"volume_guest_path":"/run/vol"}'
	echo "$output"
	[ "$status" = 0 ]
	python3 - "$output" <<-'END'
	import json, sys
	answer = json.loads(sys.argv[1])
	first, second = answer['usage']
	def number(usage, name):
	    return int(usage.get(name, 0))
	assert first['unit'] in ('BYTES', 1) and second['unit'] in ('INODES', 2)
	assert number(first, 'total') == 1 << 20 and number(first, 'available') + number(first, 'used') == 1 << 20
	assert number(second, 'total') == 100 and number(second, 'used') == 1
	assert answer['volume_condition']['message'] == 'OK' and not answer['volume_condition'].get('abnormal')
	END
	fails_with "ENOENT: No such file or directory" rpc GetVolumeStats '{"volume_guest_path":"/no/such"}'
	fails_with "resize_volume is not implemented in kata-agent" rpc ResizeVolume '{"volume_guest_path":"/run/vol","size":1}'
	in_guest sh -c 'umount /run/vol && rmdir /run/vol'
}
