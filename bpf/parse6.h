/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reads the outer headers of a packet from the IPv6 side and says what is inside: the counterpart of
 * parse.h for v4v6 (RFC 2473). Looks only at octets between `at` and `end`. Knows no maps, no tunnels
 * and no helpers.
 */
#ifndef SIXWAY_PARSE6_H
#define SIXWAY_PARSE6_H

#include "parse.h"

#define PROTOCOL_IPV4 4
#define EXTENSION_UNIT 8
#define OPTION_ENCAPSULATION_LIMIT 4
#define FRAGMENT6_OFFSET 0xfff8
#define MORE_FRAGMENTS6 1
/* Link layer, IPv6, the option, and IPv4 with an ICMPv4 header. */
#define HEADERS6_AT_MOST (14 + 40 + 8 + 60 + 8)

/* An IPv6 address in two halves. */
struct address6 {
	__u64 high;
	__u64 low;
};

/* What parse_outer6() found when it returns PARSED_IPV4. */
struct outer6 {
	struct address6 source; /* also for OUTCOME_IN_SIGNALLING */
	struct iphdr *inner; /* its first 20 octets are inside the cursor */
	__u32 header_length; /* octets of IPv6 and its extension */
	__u32 inner_room; /* octets that the outer headers leave for the inner packet */
	__u8 traffic_class;
};

/* TSP over IPv6. Tunnelled packets do not come in UDP here. */
static __always_inline int parse_udp6(const __u8 *udp, const __u8 *end, __u32 room, __u16 local_port)
{
	if (udp + UDP_HEADER > end)
		return PARSED_SHORT;
	if ((udp[2] << 8 | udp[3]) != local_port)
		return OUTCOME_IN_NOT_OURS;
	if (room <= UDP_HEADER || (udp[4] << 8 | udp[5]) == UDP_HEADER)
		return OUTCOME_IN_EMPTY;
	if (udp + UDP_HEADER + 1 > end)
		return PARSED_SHORT;
	return udp[UDP_HEADER] >> 4 == 0xf ? OUTCOME_IN_SIGNALLING : OUTCOME_IN_NOT_IPV6_NOR_TSP;
}

/*
 * `at` is the IPv6 header, `end` the end of what can be read, `length` the packet's from `at` (may be
 * more than can be read). Returns an outcome, PARSED_IPV4, PARSED_FRAGMENT or PARSED_SHORT.
 *
 * Of extension headers only the option that says how deeply tunnels may be nested (RFC 2473, 4.1.1) is
 * understood, as the kernel's tunnels send it. Whatever else comes behind extension headers may be
 * signalling, and counts as that, so that they are no way around its limits.
 */
static __always_inline int parse_outer6(__u8 *at, __u8 *end, __u32 length,
					const struct address6 *local, __u16 local_port,
					struct outer6 *outer)
{
	struct ipv6hdr *ip6 = (struct ipv6hdr *)at;
	__u8 *payload = at + IPV6_HEADER;
	__u32 room, header_length = IPV6_HEADER;
	__u8 next;

	if (at + IPV6_HEADER > end)
		return PARSED_SHORT;
	if (low_half(&ip6->daddr) != local->low || high_half(&ip6->daddr) != local->high ||
	    ip6->version != 6)
		return OUTCOME_IN_NOT_OURS;
	outer->source.high = high_half(&ip6->saddr);
	outer->source.low = low_half(&ip6->saddr);
	outer->traffic_class = at[0] << 4 | at[1] >> 4;
	room = bpf_ntohs(ip6->payload_len);
	next = ip6->nexthdr;

	if (next == PROTOCOL_TCP)
		return parse_tcp(payload, end, room, 0, local_port);
	if (next == PROTOCOL_UDP)
		return parse_udp6(payload, end, room, local_port);
	if (next == PROTOCOL_DESTINATION_OPTIONS) {
		if (payload + EXTENSION_UNIT > end)
			return PARSED_SHORT;
		next = payload[0];
		if ((next != PROTOCOL_IPV4 && next != PROTOCOL_FRAGMENT) || payload[1] != 0 ||
		    payload[2] != OPTION_ENCAPSULATION_LIMIT || payload[3] != 1)
			return OUTCOME_IN_SIGNALLING;
		if (room < EXTENSION_UNIT)
			return OUTCOME_IN_TRUNCATED;
		room -= EXTENSION_UNIT;
		header_length += EXTENSION_UNIT;
		payload += EXTENSION_UNIT;
	}
	if (next == PROTOCOL_FRAGMENT) {
		if (payload + EXTENSION_UNIT > end)
			return PARSED_SHORT;
		if (payload[0] == PROTOCOL_IPV4)
			return PARSED_FRAGMENT;
		/* Later fragments carry no ports. */
		return header_length == IPV6_HEADER &&
				       (payload[2] << 8 | payload[3]) & FRAGMENT6_OFFSET ?
			       OUTCOME_IN_NOT_OURS :
			       OUTCOME_IN_SIGNALLING;
	}
	if (is_extension(next))
		return OUTCOME_IN_SIGNALLING;
	if (next != PROTOCOL_IPV4)
		return OUTCOME_IN_NOT_OURS;

	if (header_length + room > length || room < IPV4_HEADER)
		return OUTCOME_IN_TRUNCATED;
	if (payload + IPV4_HEADER > end)
		return PARSED_SHORT;
	outer->inner = (struct iphdr *)payload;
	outer->header_length = header_length;
	outer->inner_room = room;
	if (outer->inner->version != 4 || outer->inner->ihl < 5)
		return OUTCOME_IN_NOT_IPV6_NOR_TSP;
	if (bpf_ntohs(outer->inner->tot_len) > room ||
	    bpf_ntohs(outer->inner->tot_len) < outer->inner->ihl * 4)
		return OUTCOME_IN_TRUNCATED;
	return PARSED_IPV4;
}

/* An IPv4 address as a number. */
static __always_inline int is_multicast4(__u32 address)
{
	return address >= 0xe0000000; /* class E and the limited broadcast with it */
}

static __always_inline int is_link_local4(__u32 address)
{
	return address >> 16 == 0xa9fe; /* RFC 3927 */
}

#endif
