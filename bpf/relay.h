/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Errors that IPv4 routers send about packets to clients: the inner packet's sender cannot know of them
 * unless it is told in ICMPv6 (RFC 4213, 3.2.2 and 3.4). Believed only when the quoted packet is one
 * that this server would send: the inner destination's tunnel has the quoted endpoint.
 */
#ifndef SIXWAY_RELAY_H
#define SIXWAY_RELAY_H

#include "decap.h"
#include "icmp4.h"
#include "limits.h"
#include "lookup.h"
#include "subprogram.h"

#define ICMP_TYPE_TIME_EXCEEDED 11
#define ICMP_LENGTH 5 /* the octet that says how many words of the packet are quoted (RFC 4884) */
#define ICMP_NEXT_MTU 6 /* and the two with the next hop's MTU (RFC 1191) */

/* What is quoted, without its outer headers. */
struct quotation {
	__u64 endpoint; /* where the packet was sent to */
	__u32 at; /* where its inner header begins in the buffer */
	__u32 length; /* octets of the inner packet that are there */
	__u32 overhead; /* octets of its outer headers */
};

/* Reads the packet of ours that is quoted between `at` and `end` of the buffer. 0: it is none. */
static __always_inline int read_quotation(struct __sk_buff *skb, const struct config *settings,
					  __u32 at, __u32 end, struct quotation *quotation)
{
	__u32 length, ip_length, total;
	struct udphdr udp;
	struct iphdr ip;

	if (at + IPV4_HEADER > end || bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)))
		return 0;
	ip_length = ip.ihl * 4;
	total = bpf_ntohs(ip.tot_len);
	if (ip.version != 4 || ip_length < IPV4_HEADER ||
	    ip.saddr != bpf_htonl(settings->local_address) ||
	    ip.frag_off & bpf_htons(FRAGMENT_OFFSET))
		return 0;
	length = ip_length;
	if (ip.protocol == PROTOCOL_IPV6) {
		quotation->endpoint = make_endpoint(bpf_ntohl(ip.daddr), 0, ENCAPSULATION_V6V4);
	} else if (ip.protocol == PROTOCOL_UDP) {
		if (at + ip_length + UDP_HEADER > end ||
		    bpf_skb_load_bytes(skb, at + ip_length, &udp, sizeof(udp)) ||
		    udp.source != bpf_htons(settings->local_port))
			return 0;
		quotation->endpoint = make_endpoint(bpf_ntohl(ip.daddr), bpf_ntohs(udp.dest),
						    ENCAPSULATION_V6UDPV4);
		length += UDP_HEADER;
	} else {
		return 0;
	}
	if (total < length || at + length + IPV6_HEADER > end)
		return 0;
	quotation->at = at + length;
	quotation->length = end - quotation->at;
	if (quotation->length > total - length)
		quotation->length = total - length; /* what follows is padding */
	quotation->overhead = length;
	return quotation->length >= IPV6_HEADER;
}

/* Whether the ICMPv4 message has its right checksum: nothing else protects what it says. Longer ones than
 * any router sends (RFC 1812, 4.3.2.3) are not looked at. */
static __always_inline int is_intact(struct __sk_buff *skb, __u32 at, __u32 length)
{
	__u32 key = 0;
	__u8 *message = bpf_map_lookup_elem(&scratch, &key);

	if (!message || length > ERROR_LENGTH)
		return 0;
	KEEP_BOUND(length);
	if (length < ICMP_HEADER)
		return 0;
	*(__u32 *)(message + (length & ~3u)) = 0;
	return !bpf_skb_load_bytes(skb, at, message, length) && checksum_of(message, length) == 0;
}

/*
 * Of a packet to our address that is ICMPv4: makes it the ICMPv6 error that it stands for, as if that had
 * come in on the uplink, and returns OUTCOME_IN_ERROR_RELAYED. OUTCOME_IN_NOT_OURS: it is none, or none
 * that may be relayed; nothing was changed.
 */
SUBPROGRAM int relay_error(struct __sk_buff *skb, const struct config *settings)
{
	struct error_plan plan = { .type = ICMPV6_TYPE_UNREACHABLE };
	struct quotation quotation = {};
	__u32 link_length, at, end, slot;
	__u8 icmp[ICMP_HEADER];
	struct tunnel *tunnel;
	struct ipv6hdr inner;
	struct iphdr ip;

	if (!settings)
		return OUTCOME_IN_NOT_OURS;
	link_length = settings->uplink_header_length;
	if (bpf_skb_load_bytes(skb, link_length, &ip, sizeof(ip)))
		return OUTCOME_IN_NOT_OURS;
	at = link_length + ip.ihl * 4;
	end = link_length + bpf_ntohs(ip.tot_len);
	if (ip.frag_off & bpf_htons(FRAGMENT_MASK) || end > skb->len || at + ICMP_HEADER > end ||
	    bpf_skb_load_bytes(skb, at, icmp, sizeof(icmp)) ||
	    (icmp[0] != ICMP_TYPE_UNREACHABLE && icmp[0] != ICMP_TYPE_TIME_EXCEEDED) ||
	    !is_intact(skb, at, end - at))
		return OUTCOME_IN_NOT_OURS;
	at += ICMP_HEADER;
	/* Extensions may follow the quotation; without them the octet is 0. */
	if (icmp[ICMP_LENGTH] && at + icmp[ICMP_LENGTH] * 4 < end)
		end = at + icmp[ICMP_LENGTH] * 4;
	if (!read_quotation(skb, settings, at, end, &quotation) ||
	    bpf_skb_load_bytes(skb, quotation.at, &inner, sizeof(inner)) || inner.version != 6)
		return OUTCOME_IN_NOT_OURS;

	if (find_slot(settings, high_half(&inner.daddr), &slot) > FOUND_DELEGATED)
		return OUTCOME_IN_NOT_OURS;
	tunnel = bpf_map_lookup_elem(&tunnels, &slot);
	if (!tunnel || tunnel->endpoint != quotation.endpoint)
		return OUTCOME_IN_NOT_OURS;

	plan.source.high = gateway_of(settings, slot);
	plan.source.low = GATEWAY_INTERFACE_ID;
	/* What the program sent itself, as the gateway, has nobody to tell. */
	if (!plan.source.high || (high_half(&inner.saddr) == plan.source.high &&
				  low_half(&inner.saddr) == plan.source.low))
		return OUTCOME_IN_NOT_OURS;
	if (!may_be_told6(skb, quotation.at, quotation.length) || !afford_error(settings))
		return OUTCOME_IN_NOT_OURS;

	plan.code = ICMPV6_CODE_ADDRESS_UNREACHABLE;
	if (icmp[0] == ICMP_TYPE_UNREACHABLE && icmp[1] == ICMP_CODE_TOO_BIG) {
		plan.type = ICMPV6_TYPE_TOO_BIG;
		plan.code = 0;
		plan.field = icmp[ICMP_NEXT_MTU] << 8 | icmp[ICMP_NEXT_MTU + 1];
		plan.field = plan.field < SMALLEST_MTU + quotation.overhead ?
				     SMALLEST_MTU :
				     plan.field - quotation.overhead;
	}
	plan.quote_at = quotation.at;
	plan.quote_length = quotation.length;
	return become_error(skb, link_length, &plan, ADJUST_ROOM_DECAP_L3_IPV6) ?
		       OUTCOME_IN_STRIP_FAILED :
		       OUTCOME_IN_ERROR_RELAYED;
}

#endif
