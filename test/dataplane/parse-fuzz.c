/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Runs bpf/parse.h on the host over packets that are nearly right. Each packet ends where a page
 * without access begins, so that reading one octet too many is a fault. What the parser accepts must
 * lie inside the packet. Arguments: how many packets, and a seed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "parse.h"

static __u64 state;

static __u32 chance(__u32 below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (__u32)(state >> 32) % below;
}

#define LOCAL_ADDRESS 0xc0000201u
#define LOCAL_PORT 3653

/* A tunnelled packet with everything right; returns its length. */
static __u32 build(__u8 *packet)
{
	__u32 options = chance(4) ? 0 : chance(11) * 4, payload = chance(60), at = IPV4_HEADER + options;
	int is_udp = chance(2);
	__u32 inner = at + (is_udp ? UDP_HEADER : 0), length = inner + IPV6_HEADER + payload;
	struct iphdr *ip = (struct iphdr *)packet;

	memset(packet, 0, length);
	ip->version = 4;
	ip->ihl = at / 4;
	ip->tot_len = bpf_htons(length);
	ip->protocol = is_udp ? PROTOCOL_UDP : PROTOCOL_IPV6;
	ip->daddr = bpf_htonl(LOCAL_ADDRESS);
	if (is_udp) {
		struct udphdr *udp = (struct udphdr *)(packet + at);

		udp->dest = bpf_htons(LOCAL_PORT);
		udp->len = bpf_htons(length - at);
	}
	packet[inner] = 0x60;
	return length;
}

static void fail(const char *what, const __u8 *packet, __u32 readable)
{
	printf("%s:", what);
	for (__u32 i = 0; i < readable; i++)
		printf(" %02x", packet[i]);
	printf("\n");
	exit(1);
}

int main(int argc, char **argv)
{
	long packets = argc > 1 ? atol(argv[1]) : 1000000, accepted = 0, fragments = 0,
	     seen[OUTCOME_COUNT] = {};
	long page = sysconf(_SC_PAGESIZE);
	__u8 *memory = mmap(0, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	__u8 packet[256];

	state = argc > 2 ? strtoull(argv[2], 0, 10) : 1;
	if (memory == MAP_FAILED || mprotect(memory + page, page, PROT_NONE))
		return 2;
	for (long n = 0; n < packets; n++) {
		__u32 length = build(packet), readable = chance(3) ? length : chance(length + 1);
		__u8 *end = memory + page, *at = end - readable;
		struct outer outer = {};
		int result;

		for (__u32 i = chance(4); i > 0; i--)
			packet[chance(chance(2) ? IPV4_HEADER : length)] = chance(3) ? chance(256) : 0xff;
		if (!chance(8))
			packet[0] = 0x40 | chance(16);
		if (!chance(4))
			length = chance(length + 1); /* cut off on the way */
		if (readable > length) {
			readable = length;
			at = end - readable;
		}
		memcpy(at, packet, readable);

		result = parse_outer(at, end, length, LOCAL_ADDRESS, LOCAL_PORT, &outer);
		if (result == PARSED_SHORT) {
			if (readable == length && readable >= IPV4_HEADER + UDP_HEADER + IPV6_HEADER + 60)
				fail("short, but all there", at, readable);
		} else if (result == PARSED_IPV6) {
			__u8 *inner = (__u8 *)outer.inner;

			accepted++;
			if (outer.header_length < IPV4_HEADER || inner != at + outer.header_length ||
			    inner + IPV6_HEADER > end)
				fail("inner header outside", at, readable);
			if (outer.inner_room < IPV6_HEADER || outer.header_length + outer.inner_room > length)
				fail("inner room outside", at, readable);
			if (inner[0] >> 4 != 6 || outer.endpoint >> ENDPOINT_ENCAPSULATION_SHIFT == 0)
				fail("not IPv6", at, readable);
		} else if (result == PARSED_FRAGMENT) {
			fragments++;
			if (!(at[6] & 0x3f) && !at[7])
				fail("no fragment", at, readable);
		} else if (result < 0 || result >= OUTCOME_COUNT || result == OUTCOME_IN_DECAPSULATED) {
			fail("no such result", at, readable);
		} else {
			seen[result]++;
		}
	}
	/* Worth nothing unless packets got far. */
	printf("%ld accepted, %ld truncated, %ld fragments\n", accepted, seen[OUTCOME_IN_TRUNCATED],
	       fragments);
	return !(accepted > packets / 20 && seen[OUTCOME_IN_TRUNCATED] > packets / 1000 &&
		 fragments > packets / 1000 && seen[OUTCOME_IN_NOT_IPV6_NOR_TSP] > 0 && seen[OUTCOME_IN_SIGNALLING] > 0);
}
