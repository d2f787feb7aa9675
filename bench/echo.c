/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Sends an ICMPv6 echo request again and again and waits each time for the reply, for the bench:
 *   echo DEVICE FRAME COUNT AT
 * FRAME has the request of sequence 0 in whatever headers; its ICMPv6 header begins AT octets behind the
 * link layer, and that of the reply as well. Says the quartiles of the round trips in nanoseconds:
 * "lower median upper lost". Frames are watched, not received, so the host itself need not know the
 * addresses.
 */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { ROOM = 2048, PATIENCE_NS = 20000000, ETHERNET = 14, ECHO_REPLY = 129, CHECKSUM = 2, SEQUENCE = 6 };

static long long now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
	long long difference = *(const long long *)a - *(const long long *)b;

	return (difference > 0) - (difference < 0);
}

static unsigned read_word(const unsigned char *at)
{
	return at[0] << 8 | at[1];
}

static void write_word(unsigned char *at, unsigned word)
{
	at[0] = word >> 8;
	at[1] = word;
}

static int read_hex(const char *text, unsigned char *frame)
{
	int length = 0;

	for (; text[0] && text[1] && length < ROOM; text += 2) {
		unsigned octet;

		if (sscanf(text, "%2x", &octet) != 1)
			break;
		frame[length++] = octet;
	}
	return length;
}

/* Whether the answer came. What this host sends itself is seen as well, and is none. */
static int wait_for(int sock, long long deadline, int at, unsigned sequence)
{
	unsigned char seen[ROOM];

	do {
		struct sockaddr_ll from;
		socklen_t size = sizeof(from);
		ssize_t length = recvfrom(sock, seen, sizeof(seen), MSG_DONTWAIT,
					  (struct sockaddr *)&from, &size);

		if (length > at + SEQUENCE + 1 && from.sll_pkttype != PACKET_OUTGOING &&
		    seen[at] == ECHO_REPLY && read_word(seen + at + SEQUENCE) == sequence)
			return 1;
	} while (now_ns() < deadline);
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_ll name = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	unsigned char frame[ROOM];
	int sock, length, count, at, answered = 0;
	unsigned checksum;
	long long *times;

	if (argc != 5)
		return 2;
	sock = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
	name.sll_ifindex = if_nametoindex(argv[1]);
	if (sock < 0 || bind(sock, (struct sockaddr *)&name, sizeof(name)) < 0) {
		perror(argv[1]);
		return 1;
	}
	length = read_hex(argv[2], frame);
	count = atoi(argv[3]);
	at = ETHERNET + atoi(argv[4]);
	if (length < at + SEQUENCE + 2)
		return 2;
	checksum = read_word(frame + at + CHECKSUM);
	times = calloc(count, sizeof(*times));
	for (int i = 0; i < count; i++) {
		unsigned sequence = i & 0xffff, sum = (~checksum & 0xffff) + sequence;
		long long start;

		write_word(frame + at + SEQUENCE, sequence);
		write_word(frame + at + CHECKSUM, ~((sum & 0xffff) + (sum >> 16)));
		start = now_ns();
		if (send(sock, frame, length, 0) != length) {
			perror("send");
			return 1;
		}
		if (wait_for(sock, start + PATIENCE_NS, at, sequence))
			times[answered++] = now_ns() - start;
		else if (answered == 0 && i > 20)
			break;
	}
	qsort(times, answered, sizeof(*times), by_size);
	printf("%lld %lld %lld %d\n", times[answered / 4], times[answered / 2],
	       times[answered * 3 / 4], count - answered);
	return 0;
}
