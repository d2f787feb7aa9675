/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * One TCP stream, for the bench:
 *   tcp-stream receive PORT WARM-UP-MS MS    takes one connection, says how many octets came in the MS
 *                                            after the warm-up, and in how many ns that really was
 *   tcp-stream send ADDRESS PORT MS          sends for that long
 * The receiver says "listening" first.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char buffer[1 << 18];

static long long now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void require(int fine, const char *what)
{
	if (fine)
		return;
	perror(what);
	exit(1);
}

static int receive(int port, long long warm_up_ms, long long ms)
{
	struct sockaddr_in6 own = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int listener = socket(AF_INET6, SOCK_STREAM, 0), yes = 1, connection;
	long long start, from = 0, until, octets = 0;

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	require(bind(listener, (struct sockaddr *)&own, sizeof(own)) == 0, "bind");
	require(listen(listener, 1) == 0, "listen");
	puts("listening");
	fflush(stdout);
	connection = accept(listener, NULL, NULL);
	require(connection >= 0, "accept");
	start = now_ns();
	for (;;) {
		ssize_t length = read(connection, buffer, sizeof(buffer));

		until = now_ns();
		if (length <= 0)
			break;
		if (from == 0 && until - start >= warm_up_ms * 1000000)
			from = until;
		else if (from != 0)
			octets += length;
		if (from != 0 && until - from >= ms * 1000000)
			break;
	}
	require(from != 0, "no data");
	printf("octets %lld ns %lld\n", octets, until - from);
	return 0;
}

static int send_for(const char *address, int port, long long ms)
{
	struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int connection = socket(AF_INET6, SOCK_STREAM, 0);
	long long start = now_ns();

	require(inet_pton(AF_INET6, address, &to.sin6_addr) == 1, "address");
	require(connect(connection, (struct sockaddr *)&to, sizeof(to)) == 0, "connect");
	while (now_ns() - start < ms * 1000000)
		if (send(connection, buffer, sizeof(buffer), MSG_NOSIGNAL) < 0)
			break;
	return 0;
}

int main(int argc, char **argv)
{
	require(argc == 5, "four arguments");
	if (strcmp(argv[1], "receive") == 0)
		return receive(atoi(argv[2]), atoll(argv[3]), atoll(argv[4]));
	return send_for(argv[2], atoi(argv[3]), atoll(argv[4]));
}
