/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is looked at in TCP inside tunnels: the port that a client connects to, and the largest segment
 * that the two ends agree on. Whether a tunnel may is not decided here; knows no maps.
 */
#ifndef SIXWAY_TCP_H
#define SIXWAY_TCP_H

#include "chain.h"

#define TCP_HEADER 20
#define TCP_CHECKSUM 16
#define TCP_OPTIONS_AT_MOST 40
#define TCP_OPTION_END 0
#define TCP_OPTION_NOTHING 1
#define TCP_OPTION_MSS 2
#define TCP_OPTION_MSS_LENGTH 4

/* What was seen of a packet's TCP; several at once. */
enum seen {
	SEEN_SYN = 1, /* right behind the inner header */
	SEEN_CLOSED_PORT = 2, /* it is to one of config.filtered_ports */
	SEEN_UNCLEAR = 4, /* the same cannot be ruled out */
};

static __always_inline int is_filtered(const struct config *settings, __u16 port)
{
	for (int i = 0; i < FILTERED_PORTS; i++)
		if (port && settings->filtered_ports[i] == port)
			return 1;
	return 0;
}

/* `tcp`: the first octets of a segment, up to its flags. */
static __always_inline int see_segment(const struct config *settings, const __u8 *tcp)
{
	return (is_filtered(settings, tcp[2] << 8 | tcp[3]) ? SEEN_CLOSED_PORT : 0) |
	       (tcp[TCP_FLAGS] & TCP_SYN ? SEEN_SYN : 0);
}

/*
 * The same, of a packet whose upper layer is behind extension headers, or not to be read directly.
 * Arguments as of find_upper(). A first fragment that hides the ports, and a chain of headers that
 * nobody needs, are the usual ways around a filter (RFC 7112, RFC 9288).
 */
static __attribute__((noinline)) int see_behind_headers(struct __sk_buff *skb,
							const struct config *settings, __u32 at,
							__u32 end, __u32 protocol)
{
	int unclear = *(const __u64 *)settings->filtered_ports ? SEEN_UNCLEAR : 0;
	int upper = find_upper(skb, at, end, protocol);
	__u8 start[TCP_FLAGS + 1] = {};

	if (upper < 0)
		return upper == CHAIN_LATER_FRAGMENT ? 0 : unclear;
	if (UPPER_PROTOCOL(upper) != PROTOCOL_TCP)
		return 0;
	if (UPPER_AT(upper) + PORTS > end ||
	    bpf_skb_load_bytes(skb, UPPER_AT(upper), start, PORTS))
		return unclear;
	if (UPPER_AT(upper) == at && at + sizeof(start) <= end)
		bpf_skb_load_bytes(skb, at, start, sizeof(start));
	return see_segment(settings, start);
}

/* `tcp`: what is at `at` of the buffer, behind the inner header, for reading directly. */
static __always_inline int see_tcp(struct __sk_buff *skb, const struct config *settings,
				   const __u8 *tcp, __u32 at, __u32 end, __u8 protocol)
{
	if (protocol == PROTOCOL_TCP && tcp + TCP_FLAGS + 1 <= (const __u8 *)(long)skb->data_end &&
	    at + TCP_FLAGS + 1 <= end)
		return see_segment(settings, tcp);
	return see_behind_headers(skb, settings, at, end, protocol);
}

#endif
