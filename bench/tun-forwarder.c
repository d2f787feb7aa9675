/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the bench compares with: a tunnel broker's data plane in user space, as small as it can be.
 *   tun-forwarder DEVICE 41|PORT SLOTS FIRST-ADDRESS ENDPOINT-PORT   broker: slot n is at the nth address
 *   tun-forwarder DEVICE 41|PORT 0 ADDRESS ENDPOINT-PORT             client: everything goes to one address
 * One thread; datagrams are received and sent by the batch. It does what ours does for each packet: the
 * inner address leads to a tunnel by arithmetic (2001:db8:1000::/44, a /64 each), and the tunnel's
 * endpoint must be the sender's. Says "ready", and is ended from outside.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BATCH = 64, ROOM = 2048, IPV4_HEADER = 20, IPV6_HEADER = 40, SOURCE = 8, DESTINATION = 24 };

static unsigned char buffers[BATCH][ROOM];
static struct sockaddr_in names[BATCH];
static struct iovec pieces[BATCH];
static struct mmsghdr messages[BATCH];
static struct sockaddr_in *endpoints;
static unsigned slots;

static void require(int fine, const char *what)
{
	if (fine)
		return;
	perror(what);
	exit(1);
}

static int open_tun(const char *name)
{
	struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);

	strncpy(request.ifr_name, name, IFNAMSIZ - 1);
	require(fd >= 0 && ioctl(fd, TUNSETIFF, &request) == 0, "tun");
	return fd;
}

static int open_socket(int port)
{
	struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(port)};
	int is_raw = port == IPPROTO_IPV6, size = 4 << 20, without_checksum = 1;
	int fd = is_raw ? socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK, IPPROTO_IPV6) :
			  socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	require(fd >= 0, "socket");
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_NO_CHECK, &without_checksum, sizeof(without_checksum));
	require(is_raw || bind(fd, (struct sockaddr *)&own, sizeof(own)) == 0, "bind");
	return fd;
}

/* 0: no tunnel's. */
static struct sockaddr_in *endpoint_of(const unsigned char *address)
{
	static const unsigned char pool[] = {0x20, 0x01, 0x0d, 0xb8, 0x10};
	unsigned slot;

	if (slots == 0)
		return endpoints;
	slot = (address[5] & 15) << 16 | address[6] << 8 | address[7];
	return memcmp(address, pool, sizeof(pool)) == 0 && slot < slots ? &endpoints[slot] : 0;
}

static void reset(int skip)
{
	for (int i = 0; i < BATCH; i++) {
		pieces[i] = (struct iovec){buffers[i] + skip, ROOM - skip};
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &pieces[i], .msg_iovlen = 1,
						      .msg_name = &names[i],
						      .msg_namelen = sizeof(names[i])};
	}
}

static void from_tunnels(int sock, int tun, int outer)
{
	int count;

	reset(0);
	count = recvmmsg(sock, messages, BATCH, MSG_DONTWAIT, NULL);
	for (int i = 0; i < count; i++) {
		unsigned char *inner = buffers[i] + outer;
		int length = (int)messages[i].msg_len - outer;
		struct sockaddr_in *endpoint = endpoint_of(inner + SOURCE);

		if (length < IPV6_HEADER || inner[0] >> 4 != 6 || !endpoint ||
		    endpoint->sin_addr.s_addr != names[i].sin_addr.s_addr ||
		    (outer == 0 && endpoint->sin_port != names[i].sin_port))
			continue;
		if (write(tun, inner, length) < 0)
			continue; /* the kernel has no room: lost, as on any wire */
	}
}

static void to_tunnels(int sock, int tun)
{
	int count = 0;

	reset(0);
	while (count < BATCH) {
		ssize_t length = read(tun, buffers[count], ROOM);
		struct sockaddr_in *endpoint;

		if (length <= 0)
			break;
		if (length < IPV6_HEADER || buffers[count][0] >> 4 != 6)
			continue;
		endpoint = endpoint_of(buffers[count] + DESTINATION);
		if (!endpoint)
			continue;
		names[count] = *endpoint;
		pieces[count++].iov_len = length;
	}
	for (int sent = 0, now; sent < count; sent += now) {
		now = sendmmsg(sock, messages + sent, count - sent, 0);
		if (now <= 0)
			now = 1;
	}
}

int main(int argc, char **argv)
{
	int outer, port, tun, sock;

	require(argc == 6, "five arguments");
	port = atoi(argv[2]);
	slots = atoi(argv[3]);
	endpoints = calloc(slots ? slots : 1, sizeof(*endpoints));
	for (unsigned i = 0; i < (slots ? slots : 1); i++) {
		endpoints[i].sin_family = AF_INET;
		endpoints[i].sin_addr.s_addr = htonl(ntohl(inet_addr(argv[4])) + i);
		endpoints[i].sin_port = port == IPPROTO_IPV6 ? 0 : htons(atoi(argv[5]));
	}
	tun = open_tun(argv[1]);
	sock = open_socket(port);
	outer = port == IPPROTO_IPV6 ? IPV4_HEADER : 0;
	puts("ready");
	fflush(stdout);
	for (;;) {
		struct pollfd ready[] = {{sock, POLLIN, 0}, {tun, POLLIN, 0}};

		if (poll(ready, 2, -1) < 0)
			return 1;
		if (ready[0].revents)
			from_tunnels(sock, tun, outer);
		if (ready[1].revents)
			to_tunnels(sock, tun);
	}
}
