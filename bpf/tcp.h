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
SUBPROGRAM int see_behind_headers(struct __sk_buff *skb, const struct config *settings, __u32 at,
				  __u32 end, __u32 protocol)
{
	__u8 start[TCP_FLAGS + 1] = {};
	int unclear, upper;

	if (!settings)
		return 0;
	unclear = *(const __u64 *)settings->filtered_ports ? SEEN_UNCLEAR : 0;
	upper = find_upper(skb, at, end, protocol);
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

/* Of the tunnel with a record that says `mtu`. */
static __always_inline __u32 largest_packet(const struct config *settings, __u16 mtu)
{
	__u32 most = mtu ? mtu : settings->tunnel_mtu;

	return most < SMALLEST_MTU ? SMALLEST_MTU : most;
}

/* `tcp` to `end`: what can be read at once. */
static __always_inline int may_be_syn(const __u8 *tcp, const __u8 *end)
{
	return tcp + TCP_FLAGS + 1 > end || tcp[TCP_FLAGS] & TCP_SYN;
}

/* A walk through the options of a segment. */
struct option_walk {
	__u8 options[TCP_OPTIONS_AT_MOST];
	__u32 length;
	__u32 at;
	__u32 found; /* the option that says the largest segment begins at `at` */
};

/* One step; 1: the walk ends. A callback, since the verifier follows a loop turn by turn. */
static int next_option(__u32 turn, struct option_walk *walk)
{
	__u32 at = walk->at;
	__u8 kind;

	(void)turn;
	/* What is looked for needs four octets. */
	if (at > TCP_OPTIONS_AT_MOST - TCP_OPTION_MSS_LENGTH ||
	    at + TCP_OPTION_MSS_LENGTH > walk->length)
		return 1;
	kind = walk->options[at];
	if (kind == TCP_OPTION_MSS)
		walk->found = walk->options[at + 1] == TCP_OPTION_MSS_LENGTH;
	if (kind == TCP_OPTION_MSS || kind == TCP_OPTION_END)
		return 1;
	if (kind != TCP_OPTION_NOTHING && walk->options[at + 1] < 2)
		return 1;
	walk->at = at + (kind == TCP_OPTION_NOTHING ? 1 : walk->options[at + 1]);
	return 0;
}

/*
 * Lowers the largest segment that a SYN offers to receive, so that segments fit into the tunnel: not
 * every path tells its senders that packets are too big. `at`: where the TCP header is in the buffer.
 * Pointers into the buffer are void afterwards.
 */
SUBPROGRAM int clamp_mss(struct __sk_buff *skb, __u32 at, __u32 most)
{
	struct option_walk walk = {};
	__u8 tcp[TCP_HEADER];
	__be16 from, to;
	__u32 length, i;

	if (bpf_skb_load_bytes(skb, at, tcp, sizeof(tcp)) || !(tcp[TCP_FLAGS] & TCP_SYN))
		return 0;
	length = (tcp[TCP_DATA_OFFSET] >> 4) * 4;
	if (length <= TCP_HEADER)
		return 0;
	length -= TCP_HEADER;
	if (length > sizeof(walk.options) ||
	    bpf_skb_load_bytes(skb, at + TCP_HEADER, walk.options, length))
		return 0;
	walk.length = length;
	bpf_loop(TCP_OPTIONS_AT_MOST, next_option, &walk, 0);
	i = walk.at;
	if (!walk.found || i > TCP_OPTIONS_AT_MOST - TCP_OPTION_MSS_LENGTH)
		return 0;
	from = bpf_htons(walk.options[i + 2] << 8 | walk.options[i + 3]);
	to = bpf_htons(most);
	if (bpf_ntohs(from) <= most ||
	    bpf_skb_store_bytes(skb, at + TCP_HEADER + i + 2, &to, sizeof(to), 0))
		return 0;
	/* The sum is over words; an option may begin in the middle of one. */
	if (i & 1) {
		from = __builtin_bswap16(from);
		to = __builtin_bswap16(to);
	}
	/* A checksum that is still to be filled in is of the pseudo-header alone, and stays as it is; that
	 * of a whole buffer stays right as the two changes cancel out. */
	return bpf_l4_csum_replace(skb, at + TCP_CHECKSUM, from, to, sizeof(to));
}

#endif
