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
#include <linux/errno.h>
#include <linux/if_ether.h>
#include <bpf/bpf_helpers.h>
#include "counting.h"
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
	ip->id = next_identification();
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
 * Makes room for the outer headers of an inner packet that came out of another tunnel and is still
 * marked as inside it; the kernel does not mark it twice. Without the mark it makes any room, but
 * does not take the packet for IPv4: translating it (which takes 20 octets away from the front) does
 * that, and so more room is made than is needed. Not for super-packets, which would be cut up wrongly:
 * those are sent around.
 */
static __always_inline int make_room_again(struct __sk_buff *skb, __s32 header_length)
{
	int error = bpf_skb_adjust_room(skb, header_length + IPV6_HEADER - IPV4_HEADER,
					BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO);

	return error ? error : bpf_skb_change_proto(skb, bpf_htons(ETH_P_IP), 0);
}

/*
 * Gives the packet of a device without link layer (link_length 0) an Ethernet header of zeroes:
 * bpf_redirect_neigh() replaces one, and drops what has none. Returns 0 or a negative error.
 */
static __always_inline int give_link_layer(struct __sk_buff *skb, __u32 link_length)
{
	return link_length ? 0 : bpf_skb_change_head(skb, ETH_HLEN, 0);
}

/* Makes an inner packet of a type (ETH_P_…) ready for the loopback device, which reads it from the link
 * layer. */
static __always_inline enum outcome send_around(struct __sk_buff *skb, __u32 link_length,
						__u16 ethernet_type)
{
	__be16 type = bpf_htons(ethernet_type);

	if (give_link_layer(skb, link_length) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN - sizeof(type), &type, sizeof(type), 0))
		return OUTCOME_OUT_PUSH_FAILED;
	return OUTCOME_OUT_SENT_AROUND;
}

/*
 * Pushes the outer headers that `endpoint` calls for. `second` is the inner header's second octet,
 * whose ECN field is copied (RFC 6040, 4.1). Returns `pushed` or the outcome that ends the packet;
 * pointers into the buffer are void afterwards. When pushed, the buffer is good for
 * bpf_redirect_neigh().
 */
static __always_inline int push_outer(struct __sk_buff *skb, __u32 link_length, __u32 local_address,
				      __u16 local_port, __u64 endpoint, __u8 second,
				      enum outcome pushed)
{
	__u32 length = skb->len - link_length;
	__s32 header_length = IPV4_HEADER;
	/* Fixed GSO: a super-packet is cut into the segments it came as, each with these headers. */
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L3_IPV4;
	__u8 *at;
	int error;

	if (endpoint >> ENDPOINT_ENCAPSULATION_SHIFT == ENCAPSULATION_V6UDPV4) {
		header_length += UDP_HEADER;
		flags |= BPF_F_ADJ_ROOM_ENCAP_L4_UDP;
	}
	error = bpf_skb_adjust_room(skb, header_length, BPF_ADJ_ROOM_MAC, flags);
	if (error == -EALREADY) {
		/* The kernel puts packets of protocol 41 together as it receives them (GRO). */
		if (skb->gso_size)
			return send_around(skb, link_length, ETH_P_IPV6);
		error = make_room_again(skb, header_length);
	}
	if (error)
		return OUTCOME_OUT_PUSH_FAILED;
	at = (__u8 *)(long)skb->data + link_length;
	if (at + IPV4_HEADER + UDP_HEADER > (__u8 *)(long)skb->data_end)
		return OUTCOME_OUT_PUSH_FAILED;
	write_outer((struct iphdr *)at, local_address, local_port, endpoint, second >> 4 & 3, length);
	return give_link_layer(skb, link_length) ? OUTCOME_OUT_PUSH_FAILED : pushed;
}

#endif
