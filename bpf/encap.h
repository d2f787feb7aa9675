/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * IPv6 to IPv4: puts outer headers before an inner packet. Where it goes is not decided here; knows
 * no maps.
 *
 * Don't Fragment is clear and the identification random: inner packets are at most the tunnel's
 * MTU, and a narrower path in between is better served by fragments than by errors that nobody
 * sends (RFC 4213, 3.2.1). The UDP checksum is 0, as IPv4 allows: the inner packet has its own.
 */
#ifndef SIXWAY_ENCAP_H
#define SIXWAY_ENCAP_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "parse.h"

#define OUTER_TTL 64

static __always_inline __u16 ipv4_checksum(const struct iphdr *ip)
{
	const __u16 *words = (const __u16 *)ip;
	__u32 sum = 0;

	for (int i = 0; i < IPV4_HEADER / 2; i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return ~(sum + (sum >> 16));
}

/* Fills in the outer headers at `ip`, which has room for them. `length`: of the inner packet. */
static __always_inline void write_outer(struct iphdr *ip, __u32 local_address, __u16 local_port,
					__u64 endpoint, __u8 ecn, __u32 length)
{
	int is_udp = endpoint >> ENDPOINT_ENCAPSULATION_SHIFT == ENCAPSULATION_V6UDPV4;

	if (is_udp)
		length += UDP_HEADER;
	ip->version = 4;
	ip->ihl = IPV4_HEADER / 4;
	ip->tos = ecn;
	ip->tot_len = bpf_htons(IPV4_HEADER + length);
	ip->id = bpf_get_prandom_u32();
	ip->frag_off = 0;
	ip->ttl = OUTER_TTL;
	ip->protocol = is_udp ? PROTOCOL_UDP : PROTOCOL_IPV6;
	ip->check = 0;
	ip->saddr = bpf_htonl(local_address);
	ip->daddr = bpf_htonl((__u32)endpoint);
	ip->check = ipv4_checksum(ip);
	if (is_udp) {
		struct udphdr *udp = (struct udphdr *)(ip + 1);

		udp->source = bpf_htons(local_port);
		udp->dest = bpf_htons((__u16)(endpoint >> ENDPOINT_PORT_SHIFT));
		udp->len = bpf_htons(length);
		udp->check = 0;
	}
}

/*
 * Pushes the outer headers that `endpoint` calls for. `second` is the inner header's second octet,
 * whose ECN field is copied (RFC 6040, 4.1). Returns 0 or a negative error; pointers into the buffer
 * are void afterwards.
 */
static __always_inline int push_outer(struct __sk_buff *skb, __u32 link_length, __u32 local_address,
				      __u16 local_port, __u64 endpoint, __u8 second)
{
	__u32 length = skb->len - link_length;
	__u8 *at;
	int error;

	/* Fixed GSO: a super-packet is cut into the segments it came as, each with these headers. */
	if (endpoint >> ENDPOINT_ENCAPSULATION_SHIFT == ENCAPSULATION_V6UDPV4)
		error = bpf_skb_adjust_room(skb, IPV4_HEADER + UDP_HEADER, BPF_ADJ_ROOM_MAC,
					    BPF_F_ADJ_ROOM_FIXED_GSO |
						    BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 |
						    BPF_F_ADJ_ROOM_ENCAP_L4_UDP);
	else
		error = bpf_skb_adjust_room(skb, IPV4_HEADER, BPF_ADJ_ROOM_MAC,
					    BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L3_IPV4);
	if (error)
		return error;
	at = (__u8 *)(long)skb->data + link_length;
	if (at + IPV4_HEADER + UDP_HEADER > (__u8 *)(long)skb->data_end)
		return -1;
	write_outer((struct iphdr *)at, local_address, local_port, endpoint, second >> 4 & 3, length);
	return 0;
}

#endif
