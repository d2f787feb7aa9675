/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reads the outer headers of a packet from the IPv4 side and says what is inside. Looks only at
 * octets between `at` and `end`, which is what the verifier demands and what makes it build on the
 * host for fuzzing. Knows no maps, no tunnels and no helpers.
 *
 * Not checked here: the IPv4 header checksum and the UDP checksum. What they protect is compared
 * with known values (addresses, port) or with the packet (lengths), and inner checksums follow.
 */
#ifndef SIXWAY_PARSE_H
#define SIXWAY_PARSE_H

#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include "layout.h"

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

#define PROTOCOL_ICMP 1
#define PROTOCOL_TCP 6
#define PROTOCOL_UDP 17
#define PROTOCOL_IPV6 41
#define PROTOCOL_ICMPV6 58
#define PROTOCOL_HOP_BY_HOP 0
#define PROTOCOL_ROUTING 43
#define PROTOCOL_FRAGMENT 44
#define PROTOCOL_AUTHENTICATION 51
#define PROTOCOL_DESTINATION_OPTIONS 60
#define PROTOCOL_MOBILITY 135
#define PROTOCOL_HIP 139
#define PROTOCOL_SHIM6 140
#define FRAGMENT_MASK 0x3fff /* more fragments, offset */
#define FRAGMENT_OFFSET 0x1fff
#define MORE_FRAGMENTS 0x2000
#define IPV4_HEADER 20
#define UDP_HEADER 8
#define TCP_DATA_OFFSET 12 /* the octet that holds it */
#define TCP_FLAGS 13
#define TCP_SYN 0x02
#define TCP_ACK 0x10
#define IPV6_HEADER 40
#define ECN_MASK 3
#define ECN_ECT1 1
#define ECN_ECT0 2
#define ECN_CE 3
#define SMALLEST_MTU 1280 /* of IPv6, and so of tunnels */
#define PORTS 4 /* where UDP and TCP say them: source, destination */
/* Link layer, IPv4 with all options, UDP, IPv6, and an ICMPv6 header: all that we look at. */
#define HEADERS_AT_MOST (14 + 60 + 8 + 40 + 8)

/* What parse_outer() found, beside the outcomes that end a packet. */
enum parsed {
	PARSED_IPV6 = -1, /* struct outer is filled in */
	PARSED_SHORT = -2, /* ends before what must be looked at */
	PARSED_IPV4 = -3, /* struct outer6 is filled in (parse6.h) */
	/* A fragment of what may be a tunnelled packet: of UDP also any but the first, as only that one
	 * has ports. Of struct outer only the source is filled in. */
	PARSED_FRAGMENT = -4,
	PARSED_WHOLE = -5, /* never of these functions: see fragments.h */
};

struct outer {
	__u64 endpoint; /* of the sender, as in struct tunnel */
	/* Also for OUTCOME_IN_SIGNALLING: the sender's IPv4 address, or its IPv6 address's high half. */
	__u64 source;
	struct ipv6hdr *inner; /* its 40 octets are inside the cursor */
	__u32 header_length; /* octets of IPv4 and UDP */
	__u32 inner_room; /* octets that the outer headers leave for the inner packet */
	__u8 type_of_service;
	__u8 protocol; /* of any IPv4 packet to our address */
};

static __always_inline __u64 make_endpoint(__u32 address, __u16 port, enum encapsulation encapsulation)
{
	return address | (__u64)port << ENDPOINT_PORT_SHIFT |
	       (__u64)encapsulation << ENDPOINT_ENCAPSULATION_SHIFT;
}

static __always_inline int is_extension(__u8 protocol)
{
	return protocol == PROTOCOL_HOP_BY_HOP || protocol == PROTOCOL_ROUTING ||
	       protocol == PROTOCOL_DESTINATION_OPTIONS || protocol == PROTOCOL_AUTHENTICATION ||
	       protocol == PROTOCOL_MOBILITY || protocol == PROTOCOL_HIP || protocol == PROTOCOL_SHIM6;
}

/*
 * Whether a TCP segment asks for a connection to our port: that is signalling. `room`: octets that the
 * IP header leaves for the segment. A first fragment that leaves its flags to a second one (RFC 1858)
 * is nobody's honest work.
 */
static __always_inline int parse_tcp(const __u8 *tcp, const __u8 *end, __u32 room, int fragment,
				     __u16 local_port)
{
	if (tcp + PORTS > end)
		return PARSED_SHORT;
	if ((tcp[2] << 8 | tcp[3]) != local_port)
		return OUTCOME_IN_NOT_OURS;
	if (fragment && room < TCP_FLAGS + 1)
		return OUTCOME_IN_FRAGMENT;
	if (tcp + TCP_FLAGS + 1 > end)
		return PARSED_SHORT;
	return (tcp[TCP_FLAGS] & (TCP_SYN | TCP_ACK)) == TCP_SYN ? OUTCOME_IN_SIGNALLING :
								    OUTCOME_IN_NOT_OURS;
}

/*
 * `at` is the IPv4 header, `end` the end of what can be read, `length` the packet's from `at` (may
 * be more than can be read). Returns an outcome, or enum parsed.
 */
static __always_inline int parse_outer(__u8 *at, __u8 *end, __u32 length, __u32 local_address,
				       __u16 local_port, struct outer *outer)
{
	struct iphdr *ip = (struct iphdr *)at;
	if (at + IPV4_HEADER > end)
		return PARSED_SHORT;
	if (ip->daddr != bpf_htonl(local_address) || ip->version != 4 || ip->ihl < 5)
		return OUTCOME_IN_NOT_OURS;

	__u32 ip_length = ip->ihl * 4;
	__u32 total = bpf_ntohs(ip->tot_len);
	__u16 fragment = bpf_ntohs(ip->frag_off) & FRAGMENT_MASK;
	__u8 *payload = at + ip_length;
	outer->type_of_service = ip->tos;
	outer->protocol = ip->protocol;
	outer->source = bpf_ntohl(ip->saddr);

	if (ip->protocol == PROTOCOL_IPV6) {
		if (fragment)
			return PARSED_FRAGMENT;
		if (total > length || total < ip_length + IPV6_HEADER)
			return OUTCOME_IN_TRUNCATED;
		outer->endpoint = make_endpoint(bpf_ntohl(ip->saddr), 0, ENCAPSULATION_V6V4);
		outer->header_length = ip_length;
		outer->inner_room = total - ip_length;
		outer->inner = (struct ipv6hdr *)payload;
		if (payload + IPV6_HEADER > end)
			return PARSED_SHORT;
		return payload[0] >> 4 == 6 ? PARSED_IPV6 : OUTCOME_IN_NOT_IPV6_NOR_TSP;
	}

	/* Fragments after the first carry no ports. */
	if (fragment & FRAGMENT_OFFSET)
		return ip->protocol == PROTOCOL_UDP ? PARSED_FRAGMENT : OUTCOME_IN_NOT_OURS;
	if (ip->protocol == PROTOCOL_TCP)
		return parse_tcp(payload, end, total - ip_length, fragment, local_port);
	if (ip->protocol != PROTOCOL_UDP)
		return OUTCOME_IN_NOT_OURS;
	struct udphdr *udp = (struct udphdr *)payload;
	if (payload + UDP_HEADER > end)
		return PARSED_SHORT;
	if (udp->dest != bpf_htons(local_port))
		return OUTCOME_IN_NOT_OURS;
	__u32 udp_length = bpf_ntohs(udp->len);
	if (udp_length == UDP_HEADER)
		return OUTCOME_IN_EMPTY;
	/* What cannot be told apart yet is signalling or not once it is whole. */
	if (fragment && total < ip_length + UDP_HEADER + 1)
		return PARSED_FRAGMENT;
	if (payload + UDP_HEADER + 1 > end)
		return PARSED_SHORT;
	__u8 nibble = payload[UDP_HEADER] >> 4;
	if (nibble == 0xf)
		return OUTCOME_IN_SIGNALLING;
	if (nibble != 6)
		return OUTCOME_IN_NOT_IPV6_NOR_TSP;
	if (fragment)
		return PARSED_FRAGMENT;
	if (total > length || total < ip_length + udp_length || udp_length < UDP_HEADER + IPV6_HEADER)
		return OUTCOME_IN_TRUNCATED;
	outer->endpoint = make_endpoint(bpf_ntohl(ip->saddr), bpf_ntohs(udp->source),
					ENCAPSULATION_V6UDPV4);
	outer->header_length = ip_length + UDP_HEADER;
	outer->inner_room = udp_length - UDP_HEADER;
	outer->inner = (struct ipv6hdr *)(payload + UDP_HEADER);
	return payload + UDP_HEADER + IPV6_HEADER > end ? PARSED_SHORT : PARSED_IPV6;
}

static __always_inline __u64 high_half(const struct in6_addr *address)
{
	return (__u64)bpf_ntohl(address->s6_addr32[0]) << 32 | bpf_ntohl(address->s6_addr32[1]);
}

static __always_inline __u64 low_half(const struct in6_addr *address)
{
	return (__u64)bpf_ntohl(address->s6_addr32[2]) << 32 | bpf_ntohl(address->s6_addr32[3]);
}

/* By the high half of an address. */
static __always_inline int is_multicast(__u64 high)
{
	return high >> 56 == 0xff;
}

static __always_inline int is_link_local(__u64 high)
{
	return high >> 54 == 0xfe80 >> 6;
}

#endif
