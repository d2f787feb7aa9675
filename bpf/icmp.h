/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ICMPv6 that the programs speak themselves: the answer to a keepalive, and errors. Whether to speak
 * and what to say is decided elsewhere; knows one map, the scratch memory in which an error is built.
 */
#ifndef SIXWAY_ICMP_H
#define SIXWAY_ICMP_H

#include <linux/bpf.h>
#include <linux/icmpv6.h>
#include <bpf/bpf_helpers.h>
#include "chain.h"
#include "encap6.h"

#define ICMPV6_HEADER 8
#define ICMPV6_TYPE_UNREACHABLE 1
#define ICMPV6_CODE_NO_ROUTE 0
#define ICMPV6_CODE_PROHIBITED 1
#define ICMPV6_CODE_ADDRESS_UNREACHABLE 3
#define ICMPV6_TYPE_TOO_BIG 2
#define ICMPV6_TYPE_ECHO_REQUEST 128
#define ICMPV6_TYPE_ECHO_REPLY 129
#define ICMPV6_TYPE_REDIRECT 137
#define INNER_HOP_LIMIT 64

/* RFC 4443, 2.4 (c): as much of the packet as fits into the smallest MTU. */
#define ERROR_LENGTH 1280
#define ERROR_QUOTE (ERROR_LENGTH - IPV6_HEADER - ICMPV6_HEADER)

struct icmpv6_error {
	struct ipv6hdr ip;
	__u8 type;
	__u8 code;
	__u16 checksum;
	__be32 field;
	__u8 quote[ERROR_QUOTE];
	__u32 beyond; /* where a whole word of zeroes may begin that follows a quotation */
};
_Static_assert(sizeof(struct icmpv6_error) == ERROR_LENGTH + sizeof(__u32),
	       "the error is as long as it may be");

/* Used within one run of the program: the stack is too small for an error. Nobody else reads it. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct icmpv6_error);
} scratch SEC(".maps");

static __always_inline __u16 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/*
 * Turns an echo request inside its outer headers into the reply to it, on the spot: identifier,
 * sequence and payload stay (RFC 4443, 4.2). 0: it was none, and nothing was changed. The buffer
 * then needs no other change than to be sent.
 */
static __always_inline int answer_echo(struct __sk_buff *skb, __u32 link_length,
				       const struct outer *outer, __u32 local_address,
				       __u16 local_port)
{
	__u8 *inner = (__u8 *)outer->inner;
	struct ipv6hdr *ip6 = outer->inner;
	struct icmp6hdr *icmp = (struct icmp6hdr *)(ip6 + 1);
	int is_udp = outer->endpoint >> ENDPOINT_ENCAPSULATION_SHIFT == ENCAPSULATION_V6UDPV4;
	__u32 header_length = IPV4_HEADER + (is_udp ? UDP_HEADER : 0);
	/* Counted from the front again: the verifier follows no pointer backwards. */
	__u8 *at = (__u8 *)(long)skb->data + link_length;
	struct in6_addr source;

	if (inner + IPV6_HEADER + ICMPV6_HEADER > (__u8 *)(long)skb->data_end ||
	    at + IPV4_HEADER + UDP_HEADER > (__u8 *)(long)skb->data_end)
		return 0;
	/* Nobody who keeps a tunnel alive sends IPv4 options. */
	if (outer->header_length != header_length || ip6->nexthdr != PROTOCOL_ICMPV6 ||
	    icmp->icmp6_type != ICMPV6_TYPE_ECHO_REQUEST || icmp->icmp6_code != 0 ||
	    bpf_ntohs(ip6->payload_len) < ICMPV6_HEADER)
		return 0;

	source = ip6->saddr;
	ip6->saddr = ip6->daddr;
	ip6->daddr = source;
	ip6->hop_limit = INNER_HOP_LIMIT;
	/* Incrementally (RFC 1624): the type is the high octet of its word and grows by one. Swapped
	 * addresses have the same sum. */
	icmp->icmp6_type = ICMPV6_TYPE_ECHO_REPLY;
	icmp->icmp6_cksum = ~fold((__u16)~icmp->icmp6_cksum + bpf_htons(0x0100));

	write_outer((struct iphdr *)at, local_address, local_port, outer->endpoint, 0,
		    outer->inner_room);
	return 1;
}

/* The checksum of what has been built in the scratch memory; `length` of it, and zeroes up to a whole
 * word. In parts: older kernels add up 512 octets at a time. */
static __always_inline __u16 checksum_of(void *start, __u32 length)
{
	__u32 words = (length + 3) & ~3u;
	__u32 second = words > 512 ? words - 512 : 0, third = words > 1024 ? words - 1024 : 0;
	__s64 sum;

	sum = bpf_csum_diff(0, 0, start, words > 512 ? 512 : words, 0);
	if (second)
		sum = bpf_csum_diff(0, 0, start + 512, second > 512 ? 512 : second, sum);
	if (third)
		sum = bpf_csum_diff(0, 0, start + 1024, third > 256 ? 256 : third, sum);
	return ~fold(sum);
}

/* Whether a packet may be answered by an error (RFC 4443, 2.4 (e)). It is `length` octets at `at` of the
 * buffer, and not to a multicast address. */
SUBPROGRAM int may_be_told6(struct __sk_buff *skb, __u32 at, __u32 length)
{
	struct ipv6hdr ip;
	__u64 high;
	__u8 type;
	int upper;

	if (length < IPV6_HEADER || bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)))
		return 0;
	high = high_half(&ip.saddr);
	if (is_multicast(high) || is_link_local(high) || (!high && !low_half(&ip.saddr)))
		return 0;
	upper = find_upper(skb, at + IPV6_HEADER, at + length, ip.nexthdr);
	if (upper < 0)
		return 0;
	if (UPPER_PROTOCOL(upper) != PROTOCOL_ICMPV6)
		return 1;
	if (UPPER_AT(upper) >= at + length ||
	    bpf_skb_load_bytes(skb, UPPER_AT(upper), &type, sizeof(type)))
		return 0;
	return type & 0x80 && type != ICMPV6_TYPE_REDIRECT;
}

/* An error to be: from whom, saying what, about which part of the buffer. */
struct error_plan {
	struct address6 source;
	__u32 quote_at;
	__u32 quote_length; /* 40 at least; what does not fit is left away */
	__u32 field; /* behind type, code and checksum */
	__u8 type;
	__u8 code;
};

/*
 * Replaces the packet, whose network header is `link_length` octets into the buffer, by an ICMPv6 error
 * to the sender of the one that it quotes. `adjust_flags` beside BPF_F_ADJ_ROOM_FIXED_GSO: what makes
 * IPv6 of another family. Returns 0 or a negative error.
 */
SUBPROGRAM int become_error(struct __sk_buff *skb, __u32 link_length, const struct error_plan *plan,
			    __u64 adjust_flags)
{
	struct icmpv6_error *error;
	__u32 key = 0, length;

	error = bpf_map_lookup_elem(&scratch, &key);
	if (!error || !plan || plan->quote_length < IPV6_HEADER)
		return -1;
	length = plan->quote_length;
	if (length > ERROR_QUOTE)
		length = ERROR_QUOTE;
	KEEP_BOUND(length);
	*(__u32 *)(error->quote + (length & ~3u)) = 0;
	if (bpf_skb_load_bytes(skb, plan->quote_at, error->quote, length))
		return -1;
	__builtin_memset(&error->ip, 0, sizeof(error->ip));
	error->ip.daddr = ((struct ipv6hdr *)error->quote)->saddr;
	write_address6(&error->ip.saddr, &plan->source);
	error->type = plan->type;
	error->code = plan->code;
	error->checksum = 0;
	error->field = bpf_htonl(plan->field);

	/* The pseudo-header (RFC 8200, 8.1) has the same sum as a header with the length in its place,
	 * the protocol as hop limit's neighbour, and all else zero. */
	error->ip.payload_len = bpf_htons(ICMPV6_HEADER + length);
	error->ip.hop_limit = PROTOCOL_ICMPV6;
	length += IPV6_HEADER + ICMPV6_HEADER;
	error->checksum = checksum_of(error, length);

	error->ip.version = 6;
	error->ip.nexthdr = PROTOCOL_ICMPV6;
	error->ip.hop_limit = INNER_HOP_LIMIT;

	/* The buffer may promise that somebody will still fill in the checksum of the old packet, which
	 * would spoil the quotation. Cutting away the place where that sum begins takes the promise back;
	 * hence down to a bare header, and up again. */
	if (bpf_skb_change_tail(skb, link_length + length, 0) ||
	    bpf_skb_adjust_room(skb, -(__s32)(length - IPV6_HEADER), BPF_ADJ_ROOM_MAC,
				BPF_F_ADJ_ROOM_FIXED_GSO | adjust_flags) ||
	    bpf_skb_change_tail(skb, link_length + length, 0))
		return -1;
	return bpf_skb_store_bytes(skb, link_length, error, length, 0);
}

#endif
