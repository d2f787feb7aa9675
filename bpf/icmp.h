/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ICMPv6 that the programs speak themselves: the answer to a keepalive, and Packet Too Big. Whether
 * to speak is decided elsewhere; knows one map, the scratch memory in which an error is built.
 */
#ifndef SIXWAY_ICMP_H
#define SIXWAY_ICMP_H

#include <linux/bpf.h>
#include <linux/icmpv6.h>
#include <bpf/bpf_helpers.h>
#include "encap.h"

#define ICMPV6_HEADER 8
#define ICMPV6_TYPE_TOO_BIG 2
#define ICMPV6_TYPE_ECHO_REQUEST 128
#define ICMPV6_TYPE_ECHO_REPLY 129
#define INNER_HOP_LIMIT 64

/* RFC 4443, 2.4 (c): as much of the packet as fits into the smallest MTU. Whatever is too big for a
 * tunnel is longer than that. */
#define TOO_BIG_LENGTH 1280
#define TOO_BIG_QUOTE (TOO_BIG_LENGTH - IPV6_HEADER - ICMPV6_HEADER)

struct too_big {
	struct ipv6hdr ip;
	__u8 type;
	__u8 code;
	__u16 checksum;
	__be32 mtu;
	__u8 quote[TOO_BIG_QUOTE];
};
_Static_assert(sizeof(struct too_big) == TOO_BIG_LENGTH, "the error is as long as it may be");

/* Used within one run of the program: the stack is too small for an error. Nobody else reads it. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct too_big);
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

/*
 * Replaces the packet, whose inner header is `link_length` octets into the buffer, by a Packet Too
 * Big to its sender, from `gateway_high`::1. Returns 0 or a negative error.
 */
static __always_inline int become_too_big(struct __sk_buff *skb, __u32 link_length, __u64 gateway_high,
					  __u32 mtu)
{
	__u32 key = 0;
	struct too_big *error = bpf_map_lookup_elem(&scratch, &key);
	__s64 sum;

	if (!error || bpf_skb_load_bytes(skb, link_length, error->quote, TOO_BIG_QUOTE))
		return -1;
	__builtin_memset(&error->ip, 0, sizeof(error->ip));
	error->ip.daddr = ((struct ipv6hdr *)error->quote)->saddr;
	error->ip.saddr.s6_addr32[0] = bpf_htonl((__u32)(gateway_high >> 32));
	error->ip.saddr.s6_addr32[1] = bpf_htonl((__u32)gateway_high);
	error->ip.saddr.s6_addr32[3] = bpf_htonl(GATEWAY_INTERFACE_ID);
	error->type = ICMPV6_TYPE_TOO_BIG;
	error->code = 0;
	error->checksum = 0;
	error->mtu = bpf_htonl(mtu);

	/* The pseudo-header (RFC 8200, 8.1) has the same sum as a header with the length in its place,
	 * the protocol as hop limit's neighbour, and all else zero. */
	error->ip.payload_len = bpf_htons(TOO_BIG_LENGTH - IPV6_HEADER);
	error->ip.hop_limit = PROTOCOL_ICMPV6;
	/* In parts: older kernels add up 512 octets at a time. */
	sum = bpf_csum_diff(0, 0, (__be32 *)error, 512, 0);
	sum = bpf_csum_diff(0, 0, (__be32 *)((__u8 *)error + 512), 512, sum);
	sum = bpf_csum_diff(0, 0, (__be32 *)((__u8 *)error + 1024), TOO_BIG_LENGTH - 1024, sum);
	error->checksum = ~fold(sum);

	error->ip.version = 6;
	error->ip.nexthdr = PROTOCOL_ICMPV6;
	error->ip.hop_limit = INNER_HOP_LIMIT;

	/* The buffer may promise that somebody will still fill in the checksum of the old packet, which
	 * would spoil the quotation. Cutting away the place where that sum begins takes the promise back;
	 * hence down to a bare header, and up again. */
	if (bpf_skb_change_tail(skb, link_length + TOO_BIG_LENGTH, 0) ||
	    bpf_skb_adjust_room(skb, -(TOO_BIG_LENGTH - IPV6_HEADER), BPF_ADJ_ROOM_MAC,
				BPF_F_ADJ_ROOM_FIXED_GSO) ||
	    bpf_skb_change_tail(skb, link_length + TOO_BIG_LENGTH, 0))
		return -1;
	return bpf_skb_store_bytes(skb, link_length, error, TOO_BIG_LENGTH, 0);
}

#endif
