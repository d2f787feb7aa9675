/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What icmp.h does, for the IPv4 inside v4v6: the answer to a keepalive, and errors.
 * Whether to speak is decided elsewhere.
 */
#ifndef SIXWAY_ICMP4_H
#define SIXWAY_ICMP4_H

#include "decap6.h"
#include "icmp.h"

#define ICMP_HEADER 8
#define ICMP_TYPE_ECHO_REQUEST 8
#define ICMP_TYPE_UNREACHABLE 3
#define ICMP_CODE_NET 0
#define ICMP_CODE_HOST 1
#define ICMP_CODE_TOO_BIG 4
#define ICMP_CODE_PROHIBITED 13
#define INNER_TTL 64
#define LOOPBACK_NET 127

/* RFC 1812, 4.3.2.3: as much as fits into 576 octets. */
#define ERROR4_LENGTH 576
#define ERROR4_QUOTE (ERROR4_LENGTH - IPV4_HEADER - ICMP_HEADER)

struct icmp_error {
	struct iphdr ip;
	__u8 type;
	__u8 code;
	__u16 checksum;
	__be32 field;
	__u8 quote[ERROR4_QUOTE];
	__u32 beyond; /* as in struct icmpv6_error */
};
_Static_assert(sizeof(struct icmp_error) == ERROR4_LENGTH + sizeof(__u32),
	       "the error is as long as it may be");
_Static_assert(sizeof(struct icmp_error) <= sizeof(struct icmpv6_error),
	       "the scratch memory holds either");

/* linux/icmp.h does not build for bpf. */
struct icmp4 {
	__u8 type;
	__u8 code;
	__u16 checksum;
	__u8 rest[4];
};

/*
 * Turns an echo request inside its outer header into the reply to it, on the spot; an extension header
 * goes back as it came. 0: it was none, and nothing was changed. The buffer then needs no other change
 * than to be sent.
 */
static __always_inline int answer_echo4(struct __sk_buff *skb, __u32 link_length,
					const struct outer6 *outer)
{
	struct iphdr *ip = outer->inner;
	struct icmp4 *icmp = (struct icmp4 *)(ip + 1);
	/* Counted from the front again: the verifier follows no pointer backwards. */
	struct ipv6hdr *ip6 = (struct ipv6hdr *)((__u8 *)(long)skb->data + link_length);
	struct in6_addr from;
	__be32 source;

	if ((__u8 *)icmp + ICMP_HEADER > (__u8 *)(long)skb->data_end ||
	    (__u8 *)(ip6 + 1) > (__u8 *)(long)skb->data_end)
		return 0;
	/* Nobody who keeps a tunnel alive sends IPv4 options, or fragments. */
	if (ip->ihl != IPV4_HEADER / 4 || ip->protocol != PROTOCOL_ICMP ||
	    ip->frag_off & bpf_htons(FRAGMENT_MASK) || icmp->type != ICMP_TYPE_ECHO_REQUEST ||
	    icmp->code != 0 || bpf_ntohs(ip->tot_len) < IPV4_HEADER + ICMP_HEADER)
		return 0;

	source = ip->saddr;
	ip->saddr = ip->daddr;
	ip->daddr = source;
	ip->ttl = INNER_TTL;
	ip->check = 0;
	ip->check = ipv4_checksum(ip);
	/* Incrementally (RFC 1624): the type is the high octet of its word and becomes 0. */
	icmp->type = 0;
	icmp->checksum = ~fold((__u16)~icmp->checksum + (__u16)~bpf_htons(ICMP_TYPE_ECHO_REQUEST << 8));

	from = ip6->saddr;
	ip6->saddr = ip6->daddr;
	ip6->daddr = from;
	ip6->hop_limit = OUTER_HOP_LIMIT;
	return 1;
}

/* Whether an error may be sent about a packet (RFC 1122, 3.2.2): not about errors, nor about any
 * fragment but the first, nor to who is not one host. `at` is its header, 20 octets of which can be
 * read. */
static __always_inline int may_be_told(const __u8 *at, const __u8 *end)
{
	const struct iphdr *ip = (const struct iphdr *)at;
	__u32 source = bpf_ntohl(ip->saddr);

	if (ip->frag_off & bpf_htons(FRAGMENT_OFFSET) || is_multicast4(source) ||
	    is_link_local4(source) || source >> 24 == 0 || source >> 24 == LOOPBACK_NET)
		return 0;
	if (ip->protocol != PROTOCOL_ICMP)
		return 1;
	return ip->ihl == IPV4_HEADER / 4 && at + IPV4_HEADER + 1 <= end &&
	       (at[IPV4_HEADER] == ICMP_TYPE_ECHO_REQUEST || at[IPV4_HEADER] == 0);
}

/*
 * Replaces the packet, whose inner header is `link_length` octets into the buffer, by a "destination
 * unreachable" to its sender, from `gateway`. A code of "fragmentation needed" and its MTU also when it
 * may be fragmented: that is the sender's to do, as the program cannot. Returns 0 or a negative error.
 */
SUBPROGRAM int become_unreachable4(struct __sk_buff *skb, __u32 link_length, __u32 gateway,
				   __u32 code, __u32 mtu)
{
	__u32 key = 0, length = skb->len - link_length;
	struct icmp_error *error = bpf_map_lookup_elem(&scratch, &key);

	if (!error || length < IPV4_HEADER)
		return -1;
	if (length > ERROR4_QUOTE)
		length = ERROR4_QUOTE;
	KEEP_BOUND(length);
	*(__u32 *)(error->quote + (length & ~3u)) = 0;
	if (bpf_skb_load_bytes(skb, link_length, error->quote, length))
		return -1;
	__builtin_memset(&error->ip, 0, sizeof(error->ip));
	error->type = ICMP_TYPE_UNREACHABLE;
	error->code = code;
	error->checksum = 0;
	error->field = bpf_htonl(mtu);
	error->checksum = checksum_of(&error->type, ICMP_HEADER + length);

	length += IPV4_HEADER + ICMP_HEADER;
	error->ip.version = 4;
	error->ip.ihl = IPV4_HEADER / 4;
	error->ip.tot_len = bpf_htons(length);
	error->ip.id = bpf_get_prandom_u32();
	error->ip.ttl = INNER_TTL;
	error->ip.protocol = PROTOCOL_ICMP;
	error->ip.saddr = bpf_htonl(gateway);
	error->ip.daddr = ((struct iphdr *)error->quote)->saddr;
	error->ip.check = ipv4_checksum(&error->ip);

	/* Down to a bare header and up again: why, says become_error(). */
	if (bpf_skb_change_tail(skb, link_length + length, 0) ||
	    bpf_skb_adjust_room(skb, -(__s32)(length - IPV4_HEADER), BPF_ADJ_ROOM_MAC,
				BPF_F_ADJ_ROOM_FIXED_GSO) ||
	    bpf_skb_change_tail(skb, link_length + length, 0))
		return -1;
	return bpf_skb_store_bytes(skb, link_length, error, length, 0);
}

#endif
