/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * IPv6 to IPv4: what decap.h does, for v4v6. Who may send what is not decided here; knows no maps.
 */
#ifndef SIXWAY_DECAP6_H
#define SIXWAY_DECAP6_H

#include "decap.h"
#include "parse6.h"

#define ADJUST_ROOM_DECAP_L3_IPV4 (1ULL << 7) /* Linux 6.3 */

/* ECN by the low two bits of the traffic class: what the outer header makes of the inner one (RFC 6040,
 * 4.2). 0: the packet counts as lost. */
static __always_inline int merge_congestion(__u8 outer_class, __u8 *inner_tos)
{
	__u8 outer_ecn = outer_class & ECN_MASK, inner_ecn = *inner_tos & ECN_MASK;

	if (outer_ecn == ECN_CE && inner_ecn == 0)
		return 0;
	if (outer_ecn == ECN_CE || (outer_ecn == ECN_ECT1 && inner_ecn == ECN_ECT0))
		*inner_tos = (*inner_tos & ~ECN_MASK) | outer_ecn;
	return 1;
}

/*
 * Finds the outer headers `link_length` octets into the buffer. Returns an outcome or PARSED_IPV4;
 * with the latter, and only then, `outer` holds pointers into the buffer. `peer` and `multiplier`: as of
 * read_outer().
 */
static __always_inline int read_outer6(struct __sk_buff *skb, __u32 link_length,
				       const struct address6 *local, __u16 local_port,
				       const struct address6 *peer, __u64 multiplier,
				       struct outer6 *outer)
{
	int result = PARSED_SHORT, is_whole = 0;

	if (skb->protocol != bpf_htons(ETH_P_IPV6) || skb->vlan_present ||
	    skb->pkt_type == PACKET_OTHERHOST)
		return OUTCOME_IN_NOT_OURS;
	for (int attempt = 0; attempt < 3; attempt++) {
		result = parse_outer6((__u8 *)(long)skb->data + link_length,
				      (__u8 *)(long)skb->data_end, skb->len - link_length, local,
				      local_port, outer);
		if (result == PARSED_FRAGMENT && !is_whole &&
		    (!peer || (outer->source.high == peer->high && outer->source.low == peer->low))) {
			result = put_together6(skb, link_length, multiplier);
			if (result != PARSED_WHOLE)
				return result < 0 ? OUTCOME_IN_FRAGMENT : result; /* the verifier asks */
			is_whole = 1;
		} else if (result != PARSED_SHORT || is_whole || attempt ||
			   bpf_skb_pull_data(skb, skb->len < HEADERS6_AT_MOST ? skb->len :
										HEADERS6_AT_MOST)) {
			break;
		}
	}
	if (result == PARSED_IPV4 && skb->gso_segs > 1 &&
	    bpf_ntohs(outer->inner->tot_len) < outer->inner_room)
		return OUTCOME_IN_AGGREGATED;
	return result < 0 && result != PARSED_IPV4 ? OUTCOME_IN_NOT_OURS : result;
}

/*
 * Removes link_length + [0, header_length) of the buffer and lets the inner header tell of congestion
 * on the way. Pointers into the buffer are void afterwards.
 */
static __always_inline int strip_outer6(struct __sk_buff *skb, __u32 link_length,
					const struct outer6 *outer, enum outcome stripped)
{
	struct iphdr *inner = outer->inner;
	__u32 header_length = outer->header_length;
	__u8 old = inner->tos, marked = old;

	if (!merge_congestion(outer->traffic_class, &marked))
		return OUTCOME_IN_CONGESTION_LOST;
	if (marked != old) {
		__u32 at = link_length + header_length;

		/* Through the helpers: a checksum that the card computed has to follow. It need not follow the
		 * header's own, as the two changes cancel out. */
		if (bpf_l3_csum_replace(skb, at + offsetof(struct iphdr, check), bpf_htons(old),
					bpf_htons(marked), 2) ||
		    bpf_skb_store_bytes(skb, at + offsetof(struct iphdr, tos), &marked, sizeof(marked),
					0))
			return OUTCOME_IN_STRIP_FAILED;
	}
	if (bpf_skb_adjust_room(skb, -(__s32)header_length, BPF_ADJ_ROOM_MAC,
				BPF_F_ADJ_ROOM_FIXED_GSO | ADJUST_ROOM_DECAP_L3_IPV4))
		return OUTCOME_IN_STRIP_FAILED;
	return stripped;
}

#endif
