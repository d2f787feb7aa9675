/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * IPv4 to IPv6: reads the outer headers of a buffer, and strips them. Who may send what is not
 * decided here; knows no maps.
 */
#ifndef SIXWAY_DECAP_H
#define SIXWAY_DECAP_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include "fragments.h"
#include "parse.h"

/* Linux 6.3; older UAPI headers do not name it. */
#define ADJUST_ROOM_DECAP_L3_IPV6 (1ULL << 8)

#define PACKET_OTHERHOST 3 /* linux/if_packet.h does not build for bpf */

/*
 * Finds the outer headers `link_length` octets into the buffer. Returns an outcome or PARSED_IPV6;
 * with the latter, and only then, `outer` holds pointers into the buffer. Fragments are put together if
 * they come from `peer`; 0: from anybody. `multiplier`: as in place_of().
 */
static __always_inline int read_outer(struct __sk_buff *skb, __u32 link_length, __u32 local_address,
				      __u16 local_port, __u32 peer, __u64 multiplier,
				      struct outer *outer)
{
	int result = PARSED_SHORT, is_whole = 0;

	/* VLAN-tagged packets belong to an interface above this one. */
	if (skb->protocol != bpf_htons(ETH_P_IP) || skb->vlan_present ||
	    skb->pkt_type == PACKET_OTHERHOST)
		return OUTCOME_IN_NOT_OURS;

	/* Drivers leave most of a packet outside the part that a program can read. What cannot be
	 * read at first is brought in; what is short even then is short on the wire. */
	for (int attempt = 0; attempt < 3; attempt++) {
		result = parse_outer((__u8 *)(long)skb->data + link_length, (__u8 *)(long)skb->data_end,
				     skb->len - link_length, local_address, local_port, outer);
		if (result == PARSED_FRAGMENT && !is_whole && (!peer || outer->source == peer)) {
			result = put_together(skb, link_length, multiplier);
			if (result != PARSED_WHOLE)
				return result < 0 ? OUTCOME_IN_FRAGMENT : result; /* the verifier asks */
			is_whole = 1;
		} else if (result != PARSED_SHORT || is_whole || attempt ||
			   bpf_skb_pull_data(skb, skb->len < HEADERS_AT_MOST ? skb->len :
									       HEADERS_AT_MOST)) {
			break;
		}
	}
	return result < 0 && result != PARSED_IPV6 ? OUTCOME_IN_NOT_OURS : result;
}

/* Compares the inner packet's length with the room that the outer headers give it. Returns an
 * outcome, or PARSED_IPV6. */
static __always_inline int check_inner_length(struct __sk_buff *skb, const struct outer *outer)
{
	__u32 inner_length = IPV6_HEADER + bpf_ntohs(outer->inner->payload_len);

	if (inner_length > outer->inner_room)
		return OUTCOME_IN_TRUNCATED;
	/* A shorter inner packet is followed by padding, which the kernel cuts off, unless UDP GRO
	 * put several datagrams together: then only the first has had its header looked at. */
	if (inner_length < outer->inner_room && skb->gso_segs > 1)
		return OUTCOME_IN_AGGREGATED;
	return PARSED_IPV6;
}

/*
 * Whether the inner packet, which is to an address of ours, would get to the socket of TSP: tunnels are
 * no way around the limits of signalling. `payload`: where it begins in the buffer, behind the inner
 * header, which says that `protocol` comes next. What cannot be told at a glance counts as signalling.
 */
static __always_inline int carries_signalling(struct __sk_buff *skb, __u32 payload, __u8 protocol,
					      int is_fragment, __u16 local_port)
{
	__u8 start[TCP_FLAGS + 1];

	if (is_extension(protocol) || protocol == PROTOCOL_FRAGMENT)
		return 1;
	if (protocol == PROTOCOL_UDP)
		return bpf_skb_load_bytes(skb, payload, start, PORTS) ||
		       (start[2] << 8 | start[3]) == local_port;
	if (protocol != PROTOCOL_TCP)
		return 0;
	if (bpf_skb_load_bytes(skb, payload, start, sizeof(start)))
		return 1;
	return parse_tcp(start, start + sizeof(start), sizeof(start), 0, local_port) ==
		       OUTCOME_IN_SIGNALLING ||
	       (is_fragment && (start[2] << 8 | start[3]) == local_port);
}

/*
 * Removes link_length + [0, header_length) of the buffer and lets the inner header tell of
 * congestion on the way (RFC 6040, 4.2). Pointers into the buffer are void afterwards.
 */
static __always_inline int strip_outer(struct __sk_buff *skb, __u32 link_length,
				       const struct outer *outer, enum outcome stripped)
{
	__u8 *second = (__u8 *)outer->inner + 1;
	__u8 outer_ecn = outer->type_of_service & ECN_MASK;
	__u8 inner_ecn = *second >> 4 & ECN_MASK;
	__u32 header_length = outer->header_length;

	if (outer_ecn == ECN_CE && inner_ecn == 0)
		return OUTCOME_IN_CONGESTION_LOST;
	if ((outer_ecn == ECN_CE && inner_ecn != ECN_CE) ||
	    (outer_ecn == ECN_ECT1 && inner_ecn == ECN_ECT0)) {
		__u8 marked = (*second & ~(ECN_MASK << 4)) | outer_ecn << 4;

		/* Through the helper: a checksum that the card computed has to follow. */
		if (bpf_skb_store_bytes(skb, link_length + header_length + 1, &marked, sizeof(marked),
					BPF_F_RECOMPUTE_CSUM))
			return OUTCOME_IN_STRIP_FAILED;
	}
	if (bpf_skb_adjust_room(skb, -(__s32)header_length, BPF_ADJ_ROOM_MAC,
				BPF_F_ADJ_ROOM_FIXED_GSO | ADJUST_ROOM_DECAP_L3_IPV6))
		return OUTCOME_IN_STRIP_FAILED;
	return stripped;
}

#endif
