/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * IPv4 to IPv6: what encap.h does, for v4v6 (RFC 2473). Where it goes is not decided here; knows no
 * maps. The flow label is the inner flow's hash, so that routers in between can spread tunnels over
 * their paths (RFC 6438).
 */
#ifndef SIXWAY_ENCAP6_H
#define SIXWAY_ENCAP6_H

#include "encap.h"
#include "parse6.h"

#define OUTER_HOP_LIMIT 64
#define FLOW_LABEL_MASK 0xfffff

static __always_inline void write_address6(struct in6_addr *to, const struct address6 *address)
{
	to->s6_addr32[0] = bpf_htonl((__u32)(address->high >> 32));
	to->s6_addr32[1] = bpf_htonl((__u32)address->high);
	to->s6_addr32[2] = bpf_htonl((__u32)(address->low >> 32));
	to->s6_addr32[3] = bpf_htonl((__u32)address->low);
}

/* As make_room_again(), the other way: translating to IPv6 puts 20 octets in front. */
static __always_inline int make_room6_again(struct __sk_buff *skb)
{
	int error = bpf_skb_adjust_room(skb, IPV4_HEADER, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO);

	return error ? error : bpf_skb_change_proto(skb, bpf_htons(ETH_P_IPV6), 0);
}

/*
 * Pushes an IPv6 header. The ECN field of `inner_tos` is copied (RFC 6040, 4.1). Returns `pushed` or
 * the outcome that ends the packet; pointers into the buffer are void afterwards. When pushed, the
 * buffer is good for bpf_redirect_neigh().
 */
static __always_inline int push_outer6(struct __sk_buff *skb, __u32 link_length,
				       const struct address6 *local, const struct address6 *client,
				       __u8 inner_tos, enum outcome pushed)
{
	__u32 length = skb->len - link_length;
	__u32 label = bpf_get_hash_recalc(skb) & FLOW_LABEL_MASK;
	struct ipv6hdr *ip6;
	__u8 *at;
	int error;

	error = bpf_skb_adjust_room(skb, IPV6_HEADER, BPF_ADJ_ROOM_MAC,
				    BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L3_IPV6);
	if (error == -EALREADY) {
		if (skb->gso_size)
			return send_around(skb, link_length, ETH_P_IP);
		error = make_room6_again(skb);
	}
	if (error)
		return OUTCOME_OUT_PUSH_FAILED;
	at = (__u8 *)(long)skb->data + link_length;
	if (at + IPV6_HEADER > (__u8 *)(long)skb->data_end)
		return OUTCOME_OUT_PUSH_FAILED;
	ip6 = (struct ipv6hdr *)at;
	*(__be32 *)at = bpf_htonl(6u << 28 | (__u32)(inner_tos & 3) << 20 | label);
	ip6->payload_len = bpf_htons(length);
	ip6->nexthdr = PROTOCOL_IPV4;
	ip6->hop_limit = OUTER_HOP_LIMIT;
	write_address6(&ip6->saddr, local);
	write_address6(&ip6->daddr, client);
	return give_link_layer(skb, link_length) ? OUTCOME_OUT_PUSH_FAILED : pushed;
}

#endif
