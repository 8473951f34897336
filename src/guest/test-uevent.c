/* SPDX-License-Identifier: Apache-2.0 */
/* Parsing of kernel messages, devices found in a made-up sysfs, and waits that end in each possible way. */

#include "guest/test-root.h"

#include <linux/netlink.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/loop.h"
#include "base/str.h"
#include "guest/uevent.h"

#define MESSAGE(text) (text), sizeof(text) - 1

static const char disk_event[] =
	"add@/devices/pci0000:00/0000:00:02.0/virtio1/block/vda\0ACTION=add\0"
	"DEVPATH=/devices/pci0000:00/0000:00:02.0/virtio1/block/vda\0SUBSYSTEM=block\0"
	"MAJOR=254\0MINOR=0\0DEVNAME=vda\0DEVTYPE=disk\0SEQNUM=1234\0";

struct context {
	struct test_root root;
	struct loop *loop;
	struct uevents *uevents;
	int ended, result;
	char devname[64], text[256];
};

static int setup(void **state)
{
	struct context *context = calloc(1, sizeof(*context));
	struct error e = ERROR_INIT;

	test_root_make(&context->root);
	context->loop = loop_new();
	assert_non_null(context->loop);
	context->uevents = uevents_new(context->loop, context->root.path, &e);
	assert_non_null(context->uevents);
	*state = context;
	return 0;
}

static int teardown(void **state)
{
	struct context *context = *state;

	uevents_free(context->uevents);
	loop_free(context->loop);
	test_root_remove(&context->root);
	free(context);
	return 0;
}

static void disk_present(struct context *context, bool node)
{
	test_file(&context->root, "sys/devices/pci0000:00/0000:00:02.0/virtio1/block/vda/uevent",
		  "MAJOR=254\nMINOR=0\nDEVNAME=vda\nDEVTYPE=disk\n");
	test_link(&context->root, "../../devices/pci0000:00/0000:00:02.0/virtio1/block/vda",
		  "sys/class/block/vda");
	if (node)
		test_file(&context->root, "dev/vda", "");
}

static bool match_disk(const struct uevent *event, void *data)
{
	return str_equal(event->action, "add") && str_ends_with(event->devpath, "/block/vda");
}

static void ended(int r, const struct uevent *event, const struct error *e, void *data)
{
	struct context *context = data;

	context->ended++;
	context->result = r;
	snprintf(context->devname, sizeof(context->devname), "%s", event ? event->devname : "");
	snprintf(context->text, sizeof(context->text), "%.255s", e ? e->text : "");
}

static struct uevent_wait *wait_disk(struct context *context, uint64_t timeout_ms)
{
	const struct uevent_query query = {.name = "disk vda",
					   .subsystem = "block",
					   .match = match_disk,
					   .data = context,
					   .timeout_ms = timeout_ms};
	struct uevent_wait *wait = uevent_wait_start(context->uevents, &query, ended, context);

	assert_non_null(wait);
	assert_int_equal(context->ended, 0);
	return wait;
}

static void run(struct context *context)
{
	for (int i = 0; i < 100 && !context->ended; i++)
		assert_int_equal(loop_run_once(context->loop, 100), 0);
}

static void parses_what_the_kernel_sends(void **state)
{
	struct uevent event;

	assert_int_equal(uevent_parse(MESSAGE(disk_event), &event), 0);
	assert_string_equal(event.action, "add");
	assert_string_equal(event.devpath, "/devices/pci0000:00/0000:00:02.0/virtio1/block/vda");
	assert_string_equal(event.subsystem, "block");
	assert_string_equal(event.devname, "vda");
	assert_string_equal(event.interface, "");
	assert_int_equal(event.seqnum, 1234);
	assert_int_equal(uevent_parse(MESSAGE("add@/d\0ACTION=add\0DEVPATH=/d\0INTERFACE=eth0"), &event), 0);
	assert_string_equal(event.interface, "eth0");
	assert_string_equal(event.devname, "");
}

static void refuses_what_it_does_not_send(void **state)
{
	static const struct {
		const char *data;
		size_t length;
	} bad[] = {
		{MESSAGE("")},
		{MESSAGE("libudev\0ACTION=add\0DEVPATH=/d\0")},
		{MESSAGE("add@/d\0")},
		{MESSAGE("add@/d\0ACTION=add\0")},
		{MESSAGE("add@/d\0DEVPATH=/d\0")},
		{MESSAGE("add@d\0ACTION=add\0DEVPATH=d\0")},
		{MESSAGE("add@/a/../b\0ACTION=add\0DEVPATH=/a/../b\0")},
		{MESSAGE("add@/a/..\0ACTION=add\0DEVPATH=/a/..\0")},
		{MESSAGE("add@/d\0ACTION=add\0DEVPATH=/d\0DEVNAME=../etc/passwd\0")},
		{MESSAGE("add@/d\0ACTION=add\0DEVPATH=/d\0DEVNAME=/etc/passwd\0")},
		{MESSAGE("add@/d\0ACTION=add\0DEVPATH=/d\0INTERFACE=a/b\0")},
		{MESSAGE("add@/d\0ACTION=add\0DEVPATH=/d\xff\0")},
	};
	struct uevent event;

	for (size_t i = 0; i < array_length(bad); i++)
		assert_int_equal(uevent_parse(bad[i].data, bad[i].length, &event), -EINVAL);
}

static void dots_within_names_are_no_way_up(void **state)
{
	struct uevent event;

	assert_int_equal(uevent_parse(MESSAGE("add@/a..b\0ACTION=add\0DEVPATH=/a..b/..c/...\0"), &event), 0);
	assert_string_equal(event.devpath, "/a..b/..c/...");
}

static void finds_a_cold_plugged_device(void **state)
{
	struct context *context = *state;

	disk_present(context, true);
	wait_disk(context, 10000);
	run(context);
	assert_int_equal(context->ended, 1);
	assert_int_equal(context->result, 0);
	assert_string_equal(context->devname, "vda");
}

static void finds_a_device_of_a_bus(void **state)
{
	struct context *context = *state;

	test_file(&context->root, "sys/devices/pci0000:00/0000:00:03.0/uevent", "DRIVER=virtio-pci\n");
	test_link(&context->root, "../../../devices/pci0000:00/0000:00:03.0",
		  "sys/bus/pci/devices/0000:00:03.0");
	/* bonding puts a plain file among the links. */
	test_file(&context->root, "sys/bus/pci/devices/plain", "");
	assert_false(uevents_scan(context->uevents, "pci", match_disk, context));
	assert_false(uevents_scan(context->uevents, "nothing", match_disk, context));
	assert_false(uevents_scan(context->uevents, "../bus/pci/devices", match_disk, context));
	assert_false(uevents_scan(context->uevents, "", match_disk, context));
}

static void a_device_without_its_node_is_not_there_yet(void **state)
{
	struct context *context = *state;

	disk_present(context, false);
	wait_disk(context, 10000);
	loop_run_once(context->loop, 50);
	assert_int_equal(context->ended, 0);
	uevents_inject(context->uevents, MESSAGE(disk_event));
	assert_int_equal(context->ended, 1);
	assert_int_equal(context->result, 0);
}

static void an_event_ends_all_waits_that_match(void **state)
{
	struct context *context = *state;

	wait_disk(context, 10000);
	wait_disk(context, 10000);
	loop_run_once(context->loop, 0);
	uevents_inject(context->uevents,
		       MESSAGE("add@/x\0ACTION=add\0DEVPATH=/x/block/vdb\0SUBSYSTEM=block\0"));
	uevents_inject(context->uevents,
		       MESSAGE("add@/x\0ACTION=add\0DEVPATH=/x/block/vda\0SUBSYSTEM=net\0"));
	uevents_inject(context->uevents,
		       MESSAGE("remove@/x\0ACTION=remove\0DEVPATH=/x/block/vda\0SUBSYSTEM=block\0"));
	assert_int_equal(context->ended, 0);
	uevents_inject(context->uevents, MESSAGE(disk_event));
	assert_int_equal(context->ended, 2);
	uevents_inject(context->uevents, MESSAGE(disk_event));
	assert_int_equal(context->ended, 2);
}

static void a_wait_has_an_end(void **state)
{
	struct context *context = *state;

	wait_disk(context, 30);
	run(context);
	assert_int_equal(context->ended, 1);
	assert_int_equal(context->result, -ETIMEDOUT);
	assert_string_equal(context->text, "Timeout after 1s waiting for uevent disk vda");
}

static void the_last_look_finds_what_no_event_told(void **state)
{
	struct context *context = *state;

	wait_disk(context, 100);
	loop_run_once(context->loop, 0);
	disk_present(context, true);
	run(context);
	assert_int_equal(context->ended, 1);
	assert_int_equal(context->result, 0);
}

static void a_cancelled_wait_is_silent(void **state)
{
	struct context *context = *state;
	struct uevent_wait *wait = wait_disk(context, 10);

	uevent_wait_cancel(wait);
	uevent_wait_cancel(NULL);
	uevents_inject(context->uevents, MESSAGE(disk_event));
	loop_run_once(context->loop, 30);
	assert_int_equal(context->ended, 0);
}

struct counter {
	struct uevent_observer observer;
	int seen;
};

static void count(struct uevent_observer *observer, const struct uevent *event)
{
	container_of(observer, struct counter, observer)->seen++;
}

static void an_observer_sees_every_event(void **state)
{
	struct context *context = *state;
	struct counter counter = {.observer.fn = count};

	uevents_observe(context->uevents, &counter.observer);
	uevents_inject(context->uevents, MESSAGE(disk_event));
	uevents_inject(context->uevents, MESSAGE("change@/x\0ACTION=change\0DEVPATH=/x\0"));
	assert_int_equal(counter.seen, 2);
	uevent_observer_remove(&counter.observer);
	uevents_inject(context->uevents, MESSAGE(disk_event));
	assert_int_equal(counter.seen, 2);
}

static void too_long_a_message_is_dropped(void **state)
{
	struct context *context = *state;
	char *text = calloc(1, UEVENT_TEXT_MAX + 2);

	memset(text, 'a', UEVENT_TEXT_MAX + 1);
	wait_disk(context, 20);
	uevents_inject(context->uevents, text, UEVENT_TEXT_MAX + 1);
	run(context);
	assert_int_equal(context->result, -ETIMEDOUT);
	free(text);
}

static void null_seen(struct uevent_observer *observer, const struct uevent *event)
{
	if (str_equal(event->action, "change") && str_equal(event->devname, "null"))
		container_of(observer, struct counter, observer)->seen++;
}

/* The kernel repeats an event on request; that one does nobody any harm. */
static void the_kernels_own_events_arrive(void **state)
{
	struct context *context = *state;
	struct counter counter = {.observer.fn = null_seen};
	struct error e = ERROR_INIT;
	struct uevents *uevents = uevents_new(context->loop, "/", &e);

	assert_non_null(uevents);
	uevents_observe(uevents, &counter.observer);
	if (file_write(AT_FDCWD, "/sys/devices/virtual/mem/null/uevent", "change") == 0) {
		for (int i = 0; i < 50 && !counter.seen; i++)
			loop_run_once(context->loop, 100);
		assert_true(counter.seen > 0);
	}
	uevent_observer_remove(&counter.observer);
	uevents_free(uevents);
}

/* What a process sends to the kernel's group is nobody's device. */
static void other_senders_are_not_believed(void **state)
{
	struct context *context = *state;
	struct counter counter = {.observer.fn = count};
	struct sockaddr_nl group = {.nl_family = AF_NETLINK, .nl_groups = 1};
	struct error e = ERROR_INIT;
	struct uevents *uevents = uevents_new(context->loop, "/", &e);
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);

	assert_non_null(uevents);
	uevents_observe(uevents, &counter.observer);
	if (sendto(fd, disk_event, sizeof(disk_event) - 1, 0, (struct sockaddr *)&group, sizeof(group)) < 0)
		assert_true(errno == EPERM || errno == ECONNREFUSED);
	loop_run_once(context->loop, 100);
	assert_int_equal(counter.seen, 0);
	close(fd);
	uevent_observer_remove(&counter.observer);
	uevents_free(uevents);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses_what_the_kernel_sends),
		cmocka_unit_test(refuses_what_it_does_not_send),
		cmocka_unit_test(dots_within_names_are_no_way_up),
		TEST(finds_a_cold_plugged_device),
		TEST(finds_a_device_of_a_bus),
		TEST(a_device_without_its_node_is_not_there_yet),
		TEST(an_event_ends_all_waits_that_match),
		TEST(a_wait_has_an_end),
		TEST(the_last_look_finds_what_no_event_told),
		TEST(a_cancelled_wait_is_silent),
		TEST(an_observer_sees_every_event),
		TEST(too_long_a_message_is_dropped),
		TEST(the_kernels_own_events_arrive),
		TEST(other_senders_are_not_believed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
