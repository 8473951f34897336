/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CGROUP_SYSTEMD_H
#define CGROUP_SYSTEMD_H

/* What tests of the systemd driver need of it. */

#include <stdint.h>

/* Where systemd is asked instead of at its well-known sockets. Texts that outlive the driver's use. */
void systemd_set_sockets(const char *private_socket, const char *bus_socket);
/* "252.38-1", "v255", "\"254\"" → 252, 255, 254; 0 when there is no number. */
unsigned systemd_version_parse(const char *text);
/* Microseconds of quota a @period → CPUQuotaPerSecUSec, rounded up to 10 ms; UINT64_MAX without a quota. */
uint64_t systemd_cpu_quota(int64_t quota, uint64_t period);

#endif
